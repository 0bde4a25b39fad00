//! A way to a server that breaks on command: at a message, or after so many bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where the next connection breaks that comes there; none after it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    Never,
    /// The server has committed and says so: it is not passed on.
    AnswerToCommit,
    /// The client sends COMMIT: it is not passed on.
    Commit,
    /// The client sends COMMIT: it is passed on when `Proxy::let_go` says so, also when the client is gone by then.
    HoldCommit,
    /// After so many bytes from the server.
    AfterAnswered(u64),
    /// After so many bytes from the client.
    AfterSent(u64),
}

const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

struct Shared {
    cut: watch::Sender<Cut>,
    done: AtomicU64,
    held: watch::Sender<bool>,
}

/// Listens on a port of its own and passes everything on to a server's.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Before the server on this port. Only sessions whose names contain `only` are broken.
    pub async fn start(to: u16, only: &'static str) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared { cut: watch::Sender::new(Cut::Never), done: AtomicU64::new(0), held: watch::Sender::new(false) });
        let state = shared.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await {
                        pass(client, server, only, state).await;
                    }
                });
            }
        });
        Proxy { port, shared, listening }
    }

    /// Connection string of a database behind it.
    pub fn dsn(&self, db: &str) -> String {
        format!("host=127.0.0.1 port={} dbname={db} user=postgres", self.port)
    }

    /// Breaks the next connection that comes there.
    pub fn cut(&self, cut: Cut) {
        self.shared.cut.send_replace(cut);
    }

    /// Connections broken or held so far.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }

    /// Passes on what is held.
    pub fn let_go(&self) {
        self.shared.held.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Shared {
    /// Takes the order when it is this one: nobody else carries it out.
    fn take(&self, is_here: impl Fn(Cut) -> bool) -> bool {
        let taken = self.cut.send_if_modified(|cut| {
            let here = is_here(*cut);
            if here {
                *cut = Cut::Never;
            }
            here
        });
        self.done.fetch_add(u64::from(taken), Ordering::SeqCst);
        taken
    }
}

async fn pass(client: TcpStream, server: TcpStream, only: &str, shared: Arc<Shared>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (name, is_meant) = watch::channel(false);
    tokio::select! {
        () = sent(from_client, to_server, only, &name, &shared) => {}
        () = answered(from_server, to_client, is_meant, &shared) => {}
    }
}

async fn sent(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, only: &str, name: &watch::Sender<bool>, shared: &Shared) {
    let (mut buffer, mut bytes) = (vec![0; 64 << 10], 0);
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let data = &buffer[..n];
        // The name stands in the first message, or in the one after the question for TLS.
        if bytes < 1024 && contains(data, only.as_bytes()) {
            name.send_replace(true);
        }
        bytes += n as u64;
        if *name.borrow() {
            let commits = contains(data, COMMIT);
            if shared.take(|cut| matches!(cut, Cut::Commit if commits) || matches!(cut, Cut::AfterSent(most) if bytes >= most)) {
                return;
            }
            if commits && shared.cut.borrow().eq(&Cut::HoldCommit) {
                shared.held.send_replace(true);
                shared.take(|cut| cut == Cut::HoldCommit);
                let _ = shared.held.subscribe().wait_for(|held| !held).await;
            }
        }
        if to.write_all(data).await.is_err() {
            return;
        }
    }
}

async fn answered(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_meant: watch::Receiver<bool>, shared: &Shared) {
    let (mut buffer, mut bytes) = (vec![0; 64 << 10], 0);
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let data = &buffer[..n];
        bytes += n as u64;
        let committed = contains(data, COMMITTED);
        let is_here = |cut| matches!(cut, Cut::AnswerToCommit if committed) || matches!(cut, Cut::AfterAnswered(most) if bytes >= most);
        if *is_meant.borrow() && shared.take(is_here) {
            return;
        }
        if to.write_all(data).await.is_err() {
            return;
        }
    }
}

/// Both messages are small and come in one piece.
fn contains(data: &[u8], what: &[u8]) -> bool {
    data.windows(what.len()).any(|part| part == what)
}
