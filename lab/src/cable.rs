//! Moves packets between the devices and the switch: one thread reads each device, one runs the switch on the real clock.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tun_rs::SyncDevice;

use crate::switch::{Rule, Switch};

/// A switch that runs. Dropping it stops the switch; the readers end when their devices are gone.
#[derive(Debug)]
pub struct Cable {
    signals: SyncSender<Signal>,
    stop: Arc<AtomicBool>,
    switch: Option<JoinHandle<Switch>>,
}

#[derive(Debug)]
enum Signal {
    Packet { port: usize, bytes: Vec<u8> },
    Apply(Rule),
    Stop,
}

impl Cable {
    /// Connects the devices, each to the port with its number.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn connect(switch: Switch, devices: Vec<SyncDevice>) -> io::Result<Self> {
        let (signals, taken) = sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let devices: Vec<Arc<SyncDevice>> = devices.into_iter().map(Arc::new).collect();
        for (port, device) in devices.iter().enumerate() {
            let (device, signals, stop) = (Arc::clone(device), signals.clone(), Arc::clone(&stop));
            let reader = std::thread::Builder::new().name(format!("port {port}"));
            reader.spawn(move || read(port, &device, &signals, &stop))?;
        }
        let thread = std::thread::Builder::new().name("switch".to_owned());
        let switch = thread.spawn(move || carry(switch, &devices, &taken))?;
        Ok(Self { signals, stop, switch: Some(switch) })
    }

    /// Changes lines from now on.
    pub fn apply(&self, rule: Rule) {
        // A switch that has ended carries nothing that a rule could be about.
        let _ = self.signals.send(Signal::Apply(rule));
    }

    /// Stops, and answers the switch with what it counted; `None` when its thread has failed.
    #[must_use]
    pub fn finish(mut self) -> Option<Switch> {
        self.end()
    }

    fn end(&mut self) -> Option<Switch> {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.signals.send(Signal::Stop);
        self.switch.take()?.join().ok()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads a device until it is gone, or the cable is.
fn read(port: usize, device: &SyncDevice, signals: &SyncSender<Signal>, stop: &AtomicBool) {
    let mut buffer = [0; PACKET_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        let Ok(len) = device.recv(&mut buffer) else {
            // A device that was taken down says so at once, again and again.
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let bytes = buffer.get(..len).unwrap_or_default().to_vec();
        match signals.try_send(Signal::Packet { port, bytes }) {
            // As on any line, what comes faster than it can be taken is lost.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

/// Runs the switch.
fn carry(mut switch: Switch, devices: &[Arc<SyncDevice>], signals: &Receiver<Signal>) -> Switch {
    let began = Instant::now();
    loop {
        while let Some((port, packet)) = switch.take_due(began.elapsed()) {
            // A device that is down takes nothing: that packet is lost.
            let _ = devices.get(port).map(|device| device.send(&packet));
        }
        let wait = switch.next_due().map_or(IDLE, |due| due.saturating_sub(began.elapsed()));
        match signals.recv_timeout(wait) {
            Ok(Signal::Packet { port, bytes }) => switch.accept(began.elapsed(), port, bytes),
            Ok(Signal::Apply(rule)) => {
                switch.apply(&rule);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return switch,
        }
    }
}

/// Packets that may wait for the switch.
const WAITING_MAX: usize = 4096;

/// More than any packet of a device with an MTU of 1,500 bytes.
const PACKET_BYTES_MAX: usize = 2048;

const IDLE: Duration = Duration::from_secs(1);
