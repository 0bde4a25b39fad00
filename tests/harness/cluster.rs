//! A PostgreSQL server of the test's own: folder, port, socket, log.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

use crate::load::Pgbench;
use crate::package::Package;
use crate::process::{self, TempFolder, as_client, as_server, bindir, run, signal, wait_exit};
use crate::wait::{self, wait_until};

/// How a cluster is made.
#[derive(Default, Clone)]
pub struct ClusterOptions {
    /// `source` and `peer` take their settings from `pg_test_configs`; another name takes those of all only.
    pub name: String,
    /// Lines of postgresql.conf after all others.
    pub conf: String,
    /// Whether the server finds the extension.
    pub package: bool,
}

/// A running or stopped server. Dropping it ends the server and removes its folder.
pub struct Cluster {
    name: String,
    folder: TempFolder,
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub async fn start(options: ClusterOptions) -> Cluster {
        let folder = TempFolder::new();
        let name = if options.name.is_empty() { "server".to_string() } else { options.name.clone() };
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(template(&name)).arg(&data));
        if process::is_root() {
            run(Command::new("chown").args(["postgres:postgres"]).arg(folder.path()));
        }
        let mut conf = File::options().append(true).open(data.join("postgresql.conf")).expect("postgresql.conf");
        conf.write_all(configuration(&name, &options, folder.path()).as_bytes()).expect("write postgresql.conf");
        let log = folder.path().join("log");
        File::create(&log).expect("create the log");
        wait::add_log(&name, &log);
        let mut cluster = Cluster { name, folder, port: 0, server: None };
        for _ in 0..20 {
            cluster.port = free_port();
            if cluster.try_start().await {
                return cluster;
            }
            assert!(cluster.log_tail().contains("Address already in use"), "{} does not start:\n{}", cluster.name, cluster.log_tail());
        }
        panic!("no free port found for {}", cluster.name);
    }

    /// Starts a stopped server and waits until it takes connections.
    pub async fn start_again(&mut self) {
        assert!(self.try_start().await, "{} does not start:\n{}", self.name, self.log_tail());
    }

    async fn try_start(&mut self) -> bool {
        assert!(self.server.is_none(), "{} runs already", self.name);
        let log = File::options().append(true).open(self.log()).expect("open the log");
        let mut command = as_server(&bindir().join("postgres"), "QUIT");
        command.arg("-D").arg(self.folder.path().join("data")).arg("-p").arg(self.port.to_string());
        command.stdout(log.try_clone().expect("clone a file")).stderr(log);
        let mut child = command.spawn().expect("start postgres");
        let dsn = self.dsn("postgres");
        let up = wait_until(&format!("{} to take connections", self.name), Duration::from_secs(60), async || {
            if child.try_wait().expect("wait for postgres").is_some() {
                return Ok(false);
            }
            tokio_postgres::connect(&dsn, NoTls).await.map(|_| true).map_err(|e| e.to_string())
        })
        .await;
        if up {
            self.server = Some(child);
        }
        up
    }

    /// Connection string of a database, with nothing secret in it.
    pub fn dsn(&self, db: &str) -> String {
        format!("host=127.0.0.1 port={} dbname={db} user=postgres", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its sockets.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new session.
    pub async fn connect(&self, db: &str) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.dsn(db), NoTls).await.unwrap_or_else(|e| panic!("connect to {}: {e}", self.name));
        tokio::spawn(connection);
        client
    }

    /// Runs SQL through psql and returns what it prints, unaligned, tuples only. Panics when a statement fails.
    pub async fn psql(&self, db: &str, sql: &str) -> String {
        self.try_psql(db, sql).await.unwrap_or_else(|stderr| panic!("psql on {} failed: {stderr}\n{sql:.300}", self.name))
    }

    /// As `psql`; the error is what psql said.
    pub async fn try_psql(&self, db: &str, sql: &str) -> Result<String, String> {
        let mut command = as_client(&bindir().join("psql"));
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", &self.dsn(db), "-f", "-"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = tokio::process::Command::from(command).spawn().expect("start psql");
        let mut stdin = child.stdin.take().expect("psql's input");
        let write = async {
            // psql that stops at an error does not read the rest.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, sql.as_bytes()).await;
            drop(stdin);
        };
        let (out, ()) = tokio::join!(child.wait_with_output(), write);
        let out = out.expect("psql's output");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// Makes an empty database.
    pub async fn create_db(&self, db: &str) {
        self.psql("postgres", &format!("CREATE DATABASE \"{db}\"")).await;
    }

    /// Fast shutdown: sessions are ended, everything is written.
    pub async fn stop_fast(&mut self) {
        self.stop("INT").await;
    }

    /// Immediate shutdown, as a crash: the next start recovers from WAL.
    pub async fn stop_immediate(&mut self) {
        self.stop("QUIT").await;
    }

    async fn stop(&mut self, name: &str) {
        let mut child = self.server.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        signal(&child, name);
        let ended = wait_exit(&mut child, Duration::from_secs(60)).await;
        assert!(ended.is_some(), "{} does not stop:\n{}", self.name, self.log_tail());
    }

    /// Immediate shutdown and a new start.
    pub async fn restart_immediate(&mut self) {
        self.stop_immediate().await;
        self.start_again().await;
    }

    /// No file may grow past so many bytes in sessions that begin from now on; without a number they may again.
    pub fn let_files_grow_to(&self, bytes: Option<u64>) {
        let server = self.server.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        // Who the server runs as may, where root may not for lack of a capability.
        run(as_server(Path::new("prlimit"), "KILL").arg(format!("--fsize={bytes}:")).arg("--pid").arg(server.id().to_string()));
    }

    /// Keeps a copy of a stopped server's data folder.
    pub fn save(&self) {
        assert!(self.server.is_none(), "{} runs", self.name);
        run(Command::new("cp").arg("-a").arg(self.folder.path().join("data")).arg(self.folder.path().join("saved")));
    }

    /// Puts the copy back in the place of a stopped server's data folder.
    pub fn put_back(&self) {
        assert!(self.server.is_none(), "{} runs", self.name);
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("remove the data folder");
        std::fs::rename(self.folder.path().join("saved"), self.folder.path().join("data")).expect("put the data folder back");
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log(), 40)
    }

    /// The whole log.
    pub fn log_text(&self) -> String {
        std::fs::read(self.log()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts pgbench on a database; it runs until stopped or done.
    pub fn pgbench(&self, db: &str, args: &[&str]) -> Pgbench {
        Pgbench::start(&self.dsn(db), args)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            signal(&child, "QUIT");
            let _ = child.wait();
        }
        wait::remove_log(&self.log());
    }
}

/// The data folder that clusters of a name are copied from. One for each name, as each has a system identifier.
///
/// They stand below the folder for temporary files, for this run and the next, apart by the server's version and user.
fn template(name: &str) -> PathBuf {
    use std::sync::Mutex;
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(|e| e.into_inner());
    let version = run(Command::new(bindir().join("postgres")).arg("--version"));
    let version: String = version.chars().filter(char::is_ascii_digit).collect();
    let user = if process::is_root() { "root".into() } else { std::env::var("USER").unwrap_or_default() };
    let base = std::env::temp_dir().join(format!("pgrelay-templates-{version}-{user}"));
    std::fs::create_dir_all(&base).unwrap_or_else(|e| panic!("cannot make {}: {e}", base.display()));
    let ready = base.join(name);
    if ready.exists() {
        return ready;
    }
    let making = TempFolder::new();
    if process::is_root() {
        run(Command::new("chown").arg("postgres:postgres").arg(making.path()));
    }
    let data = making.path().join("data");
    let mut initdb = as_server(&bindir().join("initdb"), "KILL");
    initdb.args(["-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8", "-D"]).arg(&data);
    run(&mut initdb);
    // Another process may have been faster: its template is as good.
    if std::fs::rename(&data, &ready).is_err() {
        assert!(ready.exists(), "cannot move the template to {}", ready.display());
    }
    ready
}

fn configuration(name: &str, options: &ClusterOptions, folder: &Path) -> String {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pg_test_configs");
    let read = |file: &str| std::fs::read_to_string(configs.join(file)).ok();
    let mut text = read("all.conf").expect("pg_test_configs/all.conf");
    text.push_str(&read(&format!("{name}.conf")).unwrap_or_default());
    text.push_str(&format!("unix_socket_directories = '{}'\n", folder.display()));
    if options.package {
        text.push_str(&Package::from_env().conf());
    }
    text + &options.conf + "\n"
}

/// A port below the range that the kernel takes for outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15000 + (start.wrapping_add(n) % 17000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
