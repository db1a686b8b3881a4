//! A real TURN server, coturn, as a child of the test: on 127.0.0.1, with its own configuration and certificate, and
//! killed with it.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::wait_until;

/// The user that it knows, when it has no secret.
pub(crate) const USER: &str = "ada";
pub(crate) const PASSWORD: &str = "lovelace";

/// A running coturn.
pub(crate) struct Coturn {
    child: Child,
    folder: PathBuf,
    port: u16,
    tls_port: u16,
    /// The authority that signed its certificate, in DER.
    pub(crate) authority: Vec<u8>,
}

impl Coturn {
    /// One with a user and a password.
    pub(crate) fn with_user() -> Self {
        Self::start(&format!("lt-cred-mech\nuser={USER}:{PASSWORD}\n"))
    }

    /// One with a secret that credentials are made of.
    pub(crate) fn with_secret(secret: &str, more: &str) -> Self {
        Self::start(&format!("use-auth-secret\nstatic-auth-secret={secret}\n{more}"))
    }

    fn start(authentication: &str) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("coturn-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key, authority) = certificate();
        std::fs::write(folder.join("certificate.pem"), certificate).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let mut config = String::from(
            "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nrealm=rollback.test\nfingerprint\n\
             allow-loopback-peers\nno-cli\nno-dtls\nno-multicast-peers\nsimple-log\nno-stdout-log\nverbose\n",
        );
        write!(config, "listening-port={port}\ntls-listening-port={tls_port}\n").unwrap();
        for (setting, file) in [
            ("cert", "certificate.pem"),
            ("pkey", "key.pem"),
            ("pidfile", "pid"),
            ("userdb", "users"),
            ("log-file", "log"),
        ] {
            writeln!(config, "{setting}={}", folder.join(file).display()).unwrap();
        }
        config.push_str(authentication);
        let path = folder.join("turnserver.conf");
        std::fs::write(&path, config).unwrap();
        let started = Command::new("turnserver")
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => panic!(
                "coturn is not installed, and these tests need it: run `make system`, or `apt-get install coturn`"
            ),
            Err(error) => panic!("coturn does not start: {error}"),
        };
        let coturn = Self { child, folder, port, tls_port, authority };
        wait_until("coturn listens", || {
            [port, tls_port].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        coturn
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn udp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }

    pub(crate) fn tcp_url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=tcp", self.port)
    }

    /// By the name in its certificate.
    pub(crate) fn tls_url(&self) -> String {
        format!("turns:localhost:{}", self.tls_port)
    }

    /// Addresses that it has given to clients.
    pub(crate) fn allocations(&self) -> usize {
        self.log().matches("ALLOCATE processed, success").count()
    }

    /// What it wrote about its clients.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A certificate for `localhost` and its key, in PEM, and the authority that signed it, in DER. A certificate that
/// signed itself is an authority's, and refused as a server's.
fn certificate() -> (String, String, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    (certificate.pem(), key.serialize_pem(), authority.der().to_vec())
}

/// A port that is free for TCP and UDP.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
