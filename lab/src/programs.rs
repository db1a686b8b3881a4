//! Which processes a scenario has, and how each is started.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::hosts::Hosts;
use crate::processes::{Processes, Program};
use crate::run::Place;
use crate::scenario::{GamePlan, Play, Scenario, Turn};

/// Says how each process is started, and writes the files that they read.
///
/// # Errors
/// When a file cannot be written.
pub fn programs(scenario: &Scenario, place: &Place, hosts: &Hosts) -> io::Result<Processes> {
    let mut processes = Processes::new(&place.folder);
    let mut add = |host: &str, folder: &Path, file: PathBuf, arguments, environment| {
        let (namespace, folder) = (hosts.namespace(host), folder.to_owned());
        processes.add(host, Program { namespace, folder, file, arguments, environment });
    };
    let (server, mut serve) = match scenario.program {
        Play::Arena => (place.binaries.join("rollback-server"), String::new()),
        Play::Python => (place.rollback(), "serve --room lab ".to_owned()),
    };
    serve.push_str(&format!("--listen {SERVER}:{PORT} --players {}", scenario.peers));
    if let Some(begin_with) = scenario.begin_with {
        serve.push_str(&format!(" --begin-with {begin_with}"));
    }
    if scenario.server_state {
        serve.push_str(" --state server-state");
    }
    match scenario.turn {
        Some(Turn::Minted) => serve.push_str(&format!(
            " --turn-url turn:{TURN}:3478?transport=udp --turn-secret-file turn-secret"
        )),
        Some(Turn::Server) => serve.push_str(" --turn"),
        _ => {}
    }
    if let Some(seconds) = scenario.turn_ttl_s {
        serve.push_str(&format!(" --turn-ttl {seconds}"));
    }
    add("server", &place.folder, server, words(&serve), Vec::new());
    for helper in scenario.helpers() {
        let (file, arguments) = match helper {
            "proxy" => ("tinyproxy", tinyproxy(&place.folder)?),
            _ => ("turnserver", coturn(scenario.turn, &place.folder)?),
        };
        add(helper, &place.folder, PathBuf::from(file), arguments, Vec::new());
    }
    for (number, peer) in (0..).zip(scenario.peer_names()) {
        let own = place.folder.join(&peer);
        fs::create_dir_all(&own)?;
        let (folder, file, mut arguments) = match scenario.program {
            Play::Arena => {
                (&own, place.binaries.join("arena"), arena(scenario, place, number, &own))
            }
            Play::Python => (&place.python_example, place.rollback(), python(scenario, &own)),
        };
        arguments.extend(words(&format!("--name {peer}")));
        arguments.extend(turn_options(scenario.turn, &place.folder));
        if scenario.relay_only {
            arguments.push("--relay-only".to_owned());
        }
        if !scenario.server_relay {
            arguments.push("--no-server-relay".to_owned());
        }
        let proxied = scenario
            .proxied
            .contains(&peer)
            .then(|| ("HTTP_PROXY".to_owned(), format!("http://{PROXY}:{PROXY_PORT}")));
        add(&peer, folder, file, arguments, proxied.into_iter().collect());
    }
    Ok(processes)
}

/// Where the server, or a helper, is.
#[must_use]
pub fn address_of(host: &str) -> Ipv4Addr {
    match host {
        "turn" => TURN,
        "proxy" => PROXY,
        _ => SERVER,
    }
}

/// How `examples/rust` is told what to play.
fn arena(scenario: &Scenario, place: &Place, number: u64, own: &Path) -> Vec<String> {
    let GamePlan {
        episodes,
        frames,
        fps,
        input_delay,
        input_bytes,
        state_bytes,
        step_ms,
        departure_timeout_s,
        members_min,
    } = &scenario.game;
    let mut arguments = words(&format!(
        "play ws://{SERVER}:{PORT}/lab --episodes {episodes} --frames {frames} --fps {fps} \
         --input-delay {input_delay} --input-bytes {input_bytes} \
         --state-bytes {state_bytes} --step-ms {step_ms} \
         --departure-timeout {departure_timeout_s} --members-min {members_min} \
         --connect-timeout 30 --seed {}",
        place.seed.wrapping_add(number),
    ));
    let token = own.join("token");
    for (option, path) in [("--folder", own), ("--token-file", &token)] {
        arguments.extend([option.to_owned(), path.display().to_string()]);
    }
    arguments
}

/// How the command of the wheel is.
fn python(scenario: &Scenario, own: &Path) -> Vec<String> {
    let GamePlan { episodes, fps, input_delay, departure_timeout_s, .. } = &scenario.game;
    let mut arguments = words(&format!(
        "play ws://{SERVER}:{PORT}/lab --env kitchen:make_env --policy kitchen:Cook --json \
         --episodes {episodes} --fps {fps} --input-delay {input_delay} \
         --on-departure wait --departure-timeout {departure_timeout_s}"
    ));
    arguments.extend(["--data".to_owned(), own.display().to_string()]);
    arguments
}

/// What a peer is told of the TURN server, where the server does not.
fn turn_options(turn: Option<Turn>, folder: &Path) -> Vec<String> {
    let url = match turn {
        Some(Turn::Udp) => format!("turn:{TURN}:3478?transport=udp"),
        Some(Turn::Tcp) => format!("turn:{TURN}:3478?transport=tcp"),
        Some(Turn::Tls) => format!("turns:{TURN}:5349"),
        Some(Turn::Minted | Turn::Server) | None => return Vec::new(),
    };
    let mut options = words(&format!(
        "--ice-server stun:{TURN}:3478 --ice-server {url},{TURN_USER},{TURN_PASSWORD}"
    ));
    if turn == Some(Turn::Tls) {
        let authority = folder.join(AUTHORITY).display().to_string();
        options.extend(["--trust".to_owned(), authority]);
    }
    options
}

/// How coturn is started. Writes the secret, or the certificate, that it reads.
fn coturn(turn: Option<Turn>, folder: &Path) -> io::Result<Vec<String>> {
    let mut options = format!(
        "-n --log-file stdout --simple-log --no-dtls --no-cli --realm lab --listening-ip {TURN} --relay-ip {TURN}"
    );
    options.push_str(&match turn {
        Some(Turn::Minted) => {
            fs::write(folder.join("turn-secret"), TURN_PASSWORD)?;
            format!(" --no-tls --use-auth-secret --static-auth-secret {TURN_PASSWORD}")
        }
        Some(Turn::Tls) => {
            write_certificate(folder)?;
            format!(" --cert {CERTIFICATE} --pkey {KEY} --lt-cred-mech --user {TURN_USER}:{TURN_PASSWORD}")
        }
        _ => format!(" --no-tls --lt-cred-mech --user {TURN_USER}:{TURN_PASSWORD}"),
    });
    Ok(words(&options))
}

/// Writes a certificate for the TURN server's address, its key, and the authority that signed it.
fn write_certificate(folder: &Path) -> io::Result<()> {
    let (authority, certificate, key) = certificate().map_err(io::Error::other)?;
    fs::write(folder.join(AUTHORITY), authority)?;
    fs::write(folder.join(CERTIFICATE), certificate)?;
    fs::write(folder.join(KEY), key)
}

/// A certificate for the TURN server's address: the authority in DER, the certificate and its key in PEM.
fn certificate() -> Result<(Vec<u8>, String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([TURN.to_string()])?.signed_by(&key, &authority)?;
    Ok((authority.der().to_vec(), certificate.pem(), key.serialize_pem()))
}

/// How the proxy is started. Writes the file that it reads.
fn tinyproxy(folder: &Path) -> io::Result<Vec<String>> {
    let config =
        format!("Port {PROXY_PORT}\nListen {PROXY}\nLogLevel Error\nMaxClients 50\nTimeout 600\n");
    fs::write(folder.join("tinyproxy.conf"), config)?;
    Ok(words("-d -c tinyproxy.conf"))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

const PORT: u16 = 8080;

const TURN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

const TURN_USER: &str = "lab";

const TURN_PASSWORD: &str = "lab";

/// The authority that signed the TURN server's certificate, in DER.
const AUTHORITY: &str = "authority.der";

const CERTIFICATE: &str = "certificate.pem";

const KEY: &str = "key.pem";

const PROXY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

const PROXY_PORT: u16 = 3128;
