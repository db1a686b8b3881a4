//! The threads on which meshes live, each with a runtime that nobody else sees. The meshes of a process share them, so that eight
//! members in one process wake one thread and not eight.

use std::io;
use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// A thread that runs tasks. It ends with the last of those who use it.
#[derive(Debug)]
pub(crate) struct BackgroundThread {
    handle: Handle,
    /// The process that it is of: a fork of that has no such thread.
    process: u32,
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
    /// Ends the thread; `None` only while that is done.
    stop: Option<oneshot::Sender<()>>,
}

/// Threads that are shared.
struct Pool(Mutex<Vec<Weak<BackgroundThread>>>);

/// Whether something has done all its work.
#[derive(Debug, Default)]
pub(crate) struct End {
    is_reached: Mutex<bool>,
    reached: Condvar,
    reached_async: Notify,
}

impl BackgroundThread {
    /// One that has room for another mesh, or a new one.
    pub(crate) fn shared() -> io::Result<Arc<Self>> {
        THREADS.with_room()
    }

    /// Runs a task, which is aborted when the handle is dropped. A panic in it is nobody else's.
    pub(crate) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(self.handle.spawn(task))
    }

    fn start() -> io::Result<Self> {
        let (made, is_made) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let end = Arc::new(End::default());
        let at_end = Arc::clone(&end);
        let thread = Builder::new().name("rollback-webrtc".to_owned()).spawn(move || {
            // The runtime is made on its own thread, because an async caller may not drop one.
            match runtime() {
                Ok(runtime) => {
                    let _ = made.send(Ok(runtime.handle().clone()));
                    // An error means that nobody is there who could stop it.
                    let _ = runtime.block_on(stopped);
                    // A name being looked up must not hold up the end.
                    runtime.shutdown_background();
                }
                Err(error) => drop(made.send(Err(error))),
            }
            at_end.reach();
        })?;
        let handle = is_made.recv().map_err(io::Error::other)??;
        let process = process::id();
        Ok(Self { handle, process, end, thread: Some(thread), stop: Some(stop) })
    }

    /// Whether tasks that it is given are run.
    fn runs(&self) -> bool {
        self.process == process::id()
            && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        self.stop = None;
        // A task that hangs holds up its thread, but not the caller.
        if self.runs()
            && self.end.wait(CLOSE_TIMEOUT)
            && let Some(thread) = self.thread.take()
        {
            // A panic was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Pool {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn with_room(&self) -> io::Result<Arc<BackgroundThread>> {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| thread.strong_count() > 0);
        let mut with_room = threads.iter().filter(|thread| thread.strong_count() < MESHES_MAX);
        if let Some(thread) = with_room.find_map(|thread| thread.upgrade().filter(|it| it.runs())) {
            return Ok(thread);
        }
        let thread = Arc::new(BackgroundThread::start()?);
        threads.push(Arc::downgrade(&thread));
        Ok(thread)
    }
}

impl End {
    pub(crate) fn reach(&self) {
        *self.is_reached.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.reached.notify_all();
        self.reached_async.notify_waiters();
    }

    /// Waits at most for `timeout`; says whether it is reached.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let is_reached = self.is_reached.lock().unwrap_or_else(PoisonError::into_inner);
        let waited =
            self.reached.wait_timeout_while(is_reached, timeout, |is_reached| !*is_reached);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) async fn wait_async(&self) {
        loop {
            let mut reached = std::pin::pin!(self.reached_async.notified());
            reached.as_mut().enable();
            if *self.is_reached.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            reached.await;
        }
    }
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        // Of the threads that look up names; the loop itself runs on the thread that made it.
        .thread_name("rollback-dns")
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
}

/// Those of this process.
static THREADS: Pool = Pool::new();

/// Meshes on one thread: all of a full room. Eight that send to each other sixty times a second take a fifth to a third of a core.
const MESHES_MAX: usize = 8;

/// Threads that look up names at once. A name server that does not answer holds one for half a minute, whoever waits for
/// it no more included, and the next tries are not to wait behind it, also those of other meshes. They are made when needed.
const BLOCKING_THREADS: usize = 32 * MESHES_MAX;

/// How long closing may take; it usually takes milliseconds.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meshes_share_threads_of_eight_which_end_with_the_last_of_them() {
        let pool = Pool::new();
        let mut meshes: Vec<_> = (0..=MESHES_MAX).map(|_| pool.with_room().unwrap()).collect();
        let (ninth, first) = (meshes.pop().unwrap(), meshes[0].clone());
        assert!(meshes.iter().all(|thread| Arc::ptr_eq(thread, &first)));
        assert!(!Arc::ptr_eq(&ninth, &first), "that one is full");
        drop((first, meshes.pop()));
        assert!(Arc::ptr_eq(&pool.with_room().unwrap(), &meshes[0]), "there is room again");
        let end = Arc::clone(&meshes[0].end);
        drop(meshes);
        assert!(end.wait(Duration::ZERO), "the last has ended it");
        assert!(Arc::ptr_eq(&pool.with_room().unwrap(), &ninth));
    }

    #[tokio::test]
    async fn a_task_that_panics_or_is_dropped_leaves_the_others_alone() {
        let thread = BackgroundThread::start().unwrap();
        let panicking = thread.spawn(async { panic!("on purpose") });
        assert!(panicking.await.unwrap_err().is_panic());
        let (held, dropped) = oneshot::channel::<()>();
        let waiting = thread.spawn(async move {
            let _held = held;
            std::future::pending().await
        });
        drop(waiting);
        assert!(dropped.await.is_err(), "it is gone, and all that it held");
        thread.spawn(async {}).await.unwrap();
        let end = Arc::clone(&thread.end);
        drop(thread);
        assert!(end.wait(Duration::ZERO));
    }

    #[test]
    fn a_task_that_hangs_holds_up_nobody_for_ever() {
        let thread = BackgroundThread::start().unwrap();
        let ((go, gone), (begin, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        let hanging = thread.handle.spawn(async move {
            begin.send(()).unwrap();
            gone.recv().is_err()
        });
        begun.recv().unwrap();
        drop(thread);
        assert!(!hanging.is_finished());
        drop(go);
    }
}
