//! A private server with TLS and SCRAM for the tests of the protocol layer.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use pgrelay_applier::pg::{self, Endpoint};
use tokio_postgres::Client;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Certificates: an authority, a server certificate for `localhost` and 127.0.0.1, a client certificate for `tls_user`.
const OPENSSL: &str = r#"set -e
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days 3 -subj "/CN=$2" -keyout $1.key "${@:3}"; }
new ca "test authority" -x509 -out ca.crt
new other "other authority" -x509 -out other.crt
new self localhost -x509 -out self.crt -addext "subjectAltName=DNS:localhost"
new server server -out server.csr
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > san
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3 -extfile san -out server.crt
new client tls_user -out client.csr
printf 'keyUsage=digitalSignature' > usage
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3 -extfile usage -out client.crt
openssl pkcs8 -topk8 -in client.key -out encrypted.key -passout pass:x
chmod 600 *.key"#;

const HBA: &str = "local all all trust\n\
    hostssl all tls_user all cert\n\
    hostnossl all md5_user all md5\n\
    hostnossl all clear_user all password\n\
    hostssl all clear_user all password\n\
    host all scram_user all scram-sha-256\n\
    hostssl all only_tls all scram-sha-256\n\
    hostnossl all only_plain all scram-sha-256\n";

pub struct Cluster {
    pub folder: PathBuf,
    pub port: u16,
}

fn bin(name: &str) -> String {
    let dir = std::env::var("PGRELAY_TEST_BINDIR").unwrap_or_else(|_| "/usr/lib/postgresql/15/bin".into());
    format!("{dir}/{name}")
}

/// Runs a command, as user `postgres` when started by root, which PostgreSQL refuses.
pub fn run(folder: &Path, args: &[&str]) {
    if let Err(told) = try_run(folder, args) {
        panic!("{told}");
    }
}

/// Likewise; what it has told where it fails.
fn try_run(folder: &Path, args: &[&str]) -> Result<(), String> {
    let as_root = std::fs::metadata("/proc/self").map(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0).unwrap_or(false);
    let drop: &[&str] = if as_root { &["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] } else { &[] };
    let all: Vec<&str> = drop.iter().chain(args).copied().collect();
    let out = Command::new(all[0]).args(&all[1..]).current_dir(folder).env_remove("RUST_BACKTRACE").output().expect("started");
    let told = || format!("{all:?}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.success() { Ok(()) } else { Err(told()) }
}

/// Starts the server and returns the port it listens on: one that is free, and that no other server takes before this one does.
fn start_server(folder: &Path, number: u16) -> u16 {
    // Each test is a process of its own: begin at a place of its own.
    let begin = std::process::id().wrapping_mul(41) + u32::from(number) * 7;
    let ports = (0..17000).map(|n| 15000 + (begin.wrapping_add(n) % 17000) as u16);
    let mut free = ports.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(5);
    let mut told = String::from("no port is free");
    free.find(|port| {
        let port = format!("-p {port}");
        try_run(folder, &[&bin("pg_ctl"), "-w", "-D", "data", "start", "-l", "log", "-o", &port]).map_err(|e| told = e).is_ok()
    })
    .unwrap_or_else(|| panic!("{told}"))
}

impl Cluster {
    pub async fn start() -> Cluster {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/tmp/pg/{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        for open in [folder.parent().expect("has one"), &folder] {
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o777)).expect("opened");
        }
        run(&folder, &["bash", "-c", OPENSSL]);
        run(&folder, &[&bin("initdb"), "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8", "-D", "data", "-U", "postgres"]);
        let place = folder.display();
        let conf = format!(
            "unix_socket_directories='{place}'\nlisten_addresses='127.0.0.1'\nwal_level=logical\nfsync=off\nssl=on\n\
             ssl_ca_file='{place}/ca.crt'\nssl_cert_file='{place}/server.crt'\nssl_key_file='{place}/server.key'\n\
             hba_file='{place}/hba'\nmax_prepared_transactions=5\n"
        );
        let write = |file: &str, text: &str| {
            std::fs::write(folder.join(file), text).expect("written");
            std::fs::set_permissions(folder.join(file), std::fs::Permissions::from_mode(0o666)).expect("opened");
        };
        write("conf", &conf);
        write("hba", HBA);
        run(&folder, &["bash", "-c", "cat conf >> data/postgresql.conf"]);
        let port = start_server(&folder, number);
        let cluster = Cluster { folder, port };
        let roles = "SET password_encryption = 'md5'; CREATE ROLE md5_user LOGIN REPLICATION PASSWORD 'sEcret';
            SET password_encryption = 'scram-sha-256'; CREATE ROLE scram_user LOGIN REPLICATION PASSWORD 'sEcret';
            CREATE ROLE only_tls LOGIN REPLICATION PASSWORD 'sEcret'; CREATE ROLE only_plain LOGIN REPLICATION PASSWORD 'sEcret';
            CREATE ROLE clear_user LOGIN REPLICATION PASSWORD 'sEcret'; CREATE ROLE tls_user LOGIN REPLICATION";
        cluster.client().await.batch_execute(roles).await.expect("roles");
        cluster
    }

    pub fn ctl(&self, args: &[&str]) {
        let all: Vec<String> =
            [bin("pg_ctl"), "-w".into(), "-D".into(), "data".into()].into_iter().chain(args.iter().map(|a| a.to_string())).collect();
        run(&self.folder, &all.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Over the Unix socket, as superuser.
    pub fn socket(&self) -> Endpoint {
        self.resolve(&format!("host={} port={} user=postgres dbname=postgres sslmode=prefer", self.folder.display(), self.port), &[])
    }

    /// Over TCP, with the password of the test roles.
    pub fn tcp(&self, rest: &str) -> Endpoint {
        self.tcp_with(rest, &[("password", "sEcret")])
    }

    pub fn tcp_with(&self, rest: &str, extra: &[(&str, &str)]) -> Endpoint {
        let rest = rest.replace("DIR", &self.folder.display().to_string());
        self.resolve(&format!("host=localhost hostaddr=127.0.0.1 port={} dbname=postgres {rest}", self.port), extra)
    }

    fn resolve(&self, conninfo: &str, extra: &[(&str, &str)]) -> Endpoint {
        let extra: Vec<_> = extra.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Endpoint::resolve(conninfo, &extra).unwrap_or_else(|e| panic!("{conninfo}: {e}"))
    }

    pub async fn client(&self) -> Client {
        pg::connect(&self.socket(), "test", &[]).await.expect("connected")
    }

    /// Such as 150020.
    pub async fn version(&self) -> i32 {
        let row = self.client().await.query_one("SELECT pg_catalog.current_setting('server_version_num')::int", &[]).await;
        row.expect("a row").get(0)
    }

    /// Uses another certificate from now on.
    pub fn certificate(&self, name: &str) {
        let script = format!(
            "sed -i 's#/[a-z]*\\.crt.$#/{name}.crt\\x27#; s#/[a-z]*\\.key.$#/{name}.key\\x27#; s#^ssl_ca_file=.*##' data/postgresql.conf"
        );
        run(&self.folder, &["bash", "-c", &script]);
        self.ctl(&["restart", "-l", "log"]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = [&bin("pg_ctl"), "-D", "data", "-m", "immediate", "stop"];
        if !std::thread::panicking() {
            run(&self.folder, &stop);
            run(&self.folder, &["bash", "-c", "rm -rf data"]);
        } else {
            let _ = std::panic::catch_unwind(|| run(&self.folder, &stop));
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
