//! Applications that write: pgbench, and writers that survive a restart of their server.

use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

use crate::process::{TempFolder, as_client, bindir, signal, wait_exit};

/// A running pgbench. Dropping it ends it.
pub struct Pgbench {
    child: Option<Child>,
    folder: TempFolder,
}

impl Pgbench {
    pub(crate) fn start(dsn: &str, args: &[&str]) -> Pgbench {
        let folder = TempFolder::new();
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).expect("create a file");
        let mut command = as_client(&bindir().join("pgbench"));
        command.args(args).arg(dsn);
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().expect("start pgbench");
        Pgbench { child: Some(child), folder }
    }

    /// Writes a script into the load's folder before pgbench is started with it: returns the folder and the path.
    pub fn script(text: &str) -> (TempFolder, String) {
        let folder = TempFolder::new();
        let path = folder.path().join("script.sql");
        std::fs::File::create(&path).and_then(|mut f| f.write_all(text.as_bytes())).expect("write a script");
        let path = path.to_string_lossy().into_owned();
        (folder, path)
    }

    /// Ends it, and panics when any of its statements had failed.
    pub async fn stop(mut self) {
        let mut child = self.child.take().expect("pgbench");
        let ended = child.try_wait().expect("wait for pgbench");
        if ended.is_none() {
            signal(&child, "TERM");
            wait_exit(&mut child, Duration::from_secs(20)).await.expect("pgbench does not end");
        }
        let stderr = self.said();
        assert!(ended.is_none_or(|s| s.success()) && !stderr.contains("error"), "pgbench failed ({ended:?}):\n{stderr}");
    }

    /// Waits until it has done all its transactions, and panics when any of its statements failed.
    pub async fn finish(mut self, deadline: Duration) {
        let mut child = self.child.take().expect("pgbench");
        let status = wait_exit(&mut child, deadline).await;
        let done = status.is_some_and(|s| s.success());
        if !done {
            let _ = child.kill();
        }
        assert!(done && !self.said().contains("error"), "pgbench failed ({status:?}):\n{}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).unwrap_or_default()
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sessions that each run one SQL text over and over and connect again when the connection breaks.
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    committed: Arc<AtomicU64>,
    refused: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Writers {
    /// Starts `n` writers; `sql` may be several statements, which are one transaction.
    pub fn start(dsn: &str, n: usize, pause: Duration, sql: &str) -> Writers {
        Writers::start_each(dsn, pause, vec![vec![sql.to_string()]; n])
    }

    /// Starts a writer for each list, which runs its texts one after the other, over and over. One that collides with another
    /// (a key that is there, a deadlock) is rolled back and not tried again.
    pub fn start_each(dsn: &str, pause: Duration, texts: Vec<Vec<String>>) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicU64::new(0));
        let refused = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tasks = texts
            .into_iter()
            .map(|texts| {
                let dsn = dsn.to_string();
                let (stop, committed, refused) = (stop.clone(), committed.clone(), refused.clone());
                tokio::spawn(async move {
                    let mut texts = texts.iter().cycle();
                    while !stop.load(Ordering::Relaxed) {
                        let Ok((client, connection)) = tokio_postgres::connect(&dsn, NoTls).await else {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            continue;
                        };
                        tokio::spawn(connection);
                        while !stop.load(Ordering::Relaxed) {
                            let Some(sql) = texts.next() else { return };
                            match client.batch_execute(sql).await {
                                Ok(()) => committed.fetch_add(1, Ordering::Relaxed),
                                Err(e) if client.is_closed() || is_shutdown(&e) => break,
                                Err(e) if collides(&e) && client.batch_execute("ROLLBACK").await.is_ok() => 0,
                                Err(e) => {
                                    refused.lock().expect("lock").push(format!("{e:?}"));
                                    0
                                }
                            };
                            tokio::time::sleep(pause).await;
                        }
                    }
                })
            })
            .collect();
        Writers { stop, tasks, committed, refused }
    }

    /// Transactions committed so far; one whose answer was lost is not counted.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Ends the writers and panics when a statement was refused.
    pub async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await.expect("a writer");
        }
        let refused = self.refused.lock().expect("lock");
        assert!(refused.is_empty(), "{} statements of the application were refused, the first: {}", refused.len(), refused[0]);
        self.committed()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.iter().for_each(|task| task.abort());
    }
}

/// Classes 23 and 40: another writer was faster.
fn collides(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("23") || code.code().starts_with("40"))
}

/// A server that goes down: class 57P, or the connection itself broke.
fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| code.code().starts_with("57P"))
}
