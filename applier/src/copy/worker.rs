//! A worker: one session on the source, one on the peer, and one that builds.

use std::{collections::HashSet, sync::Arc};

use pgrelay_core::{Error, Result, error::Kind, name::TableName};
use tokio::sync::oneshot;
use tokio_postgres::Client;

use super::{
    Job, Setting, Snapshots,
    board::{Board, Work},
    build, session,
    shape::Rules,
    split::Helped,
    table::{self, Copied, Hands},
};
use crate::{apply::CopyMessage, pg::pipe::Session};

/// Copies what the board has until nothing is left.
pub struct Worker {
    /// What every worker needs.
    pub setting: Setting,
    /// Which of them it is.
    pub number: u32,
    /// What is to be done.
    pub board: Arc<Board>,
}

struct Sessions {
    source: Session,
    peer: Session,
    builder: Client,
}

impl Worker {
    /// Works, until there is nothing to do or fewer are wanted. An error that is of one table only goes to the board.
    pub async fn run(self) -> Result<()> {
        let mut refused = HashSet::new();
        let mut sessions = None;
        while let Some(work) = self.next(&refused).await {
            let open = match sessions.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            sessions = match work {
                Work::Help(split) => self.help(open, &split, &mut refused).await?,
                Work::Lot(lot) => {
                    let open = self.lot(open, lot).await?;
                    self.board.done();
                    open
                }
            };
        }
        Ok(())
    }

    /// What to do next; none: nothing any more.
    async fn next(&self, refused: &HashSet<u32>) -> Option<Work> {
        let mut options = self.setting.options.clone();
        tokio::select! {
            biased;
            Ok(_) = options.wait_for(|o| o.copy_jobs <= self.number) => None,
            work = self.board.next(refused) => work,
        }
    }

    async fn connect(&self) -> Result<Sessions> {
        let s = &self.setting;
        let name = format!("{} copy", s.names.origin);
        let source = session::source(s, &name).await?;
        let peer = session::peer(s, &name, self.number).await?;
        Ok(Sessions { source, peer, builder: build::session(s).await? })
    }

    /// Returns the sessions when they can be used again.
    async fn help(&self, mut open: Sessions, split: &super::split::Split, refused: &mut HashSet<u32>) -> Result<Option<Sessions>> {
        match split.help(&self.setting, &mut open.source, &mut open.peer).await? {
            Helped::Done => Ok(Some(open)),
            Helped::Refused => {
                refused.insert(split.oid());
                Ok(Some(open))
            }
            Helped::Failed => Ok(None),
        }
    }

    async fn lot(&self, mut open: Sessions, mut lot: Vec<Job>) -> Result<Option<Sessions>> {
        match self.copy(&mut open, &lot).await {
            Ok(true) => Ok(Some(open)),
            Ok(false) => {
                self.board.alone(lot);
                Ok(Some(open))
            }
            Err(error) if is_of_the_table(&error) => {
                // Alone, each table says what is wrong with it.
                match lot.pop() {
                    Some(job) if lot.is_empty() => self.board.fail(job, error),
                    last => self.board.alone(lot.into_iter().chain(last).collect()),
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// False: several tables are to be tried one by one.
    async fn copy(&self, open: &mut Sessions, lot: &[Job]) -> Result<bool> {
        let s = &self.setting;
        let same_major = open.source.server_version_num() / 10000 == open.peer.server_version_num() / 10000;
        let mut hands = Hands {
            s,
            source: &mut open.source,
            peer: &mut open.peer,
            marks: &open.builder,
            rules: Rules { exact: s.exact, same_major },
            board: &self.board,
        };
        match (table::copy(&mut hands, lot).await?, lot) {
            (None, _) => return Ok(false),
            (Some(Copied::Mixed(at)), [job]) => {
                build::keys(s, &mut open.builder, lot).await?;
                self.tell_done(lot).await;
                build::rest(s, &mut open.builder, job, at).await?;
            }
            _ => {
                build::all(s, &mut open.builder, lot).await?;
                self.tell_done(lot).await;
            }
        }
        Ok(true)
    }

    async fn tell_done(&self, lot: &[Job]) {
        if let Snapshots::Own(applier) = &self.setting.snapshots {
            let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
            let (reply, answer) = oneshot::channel();
            // The applier is gone only when the task is being ended.
            if applier.send(CopyMessage::Done { tables, reply }).await.is_ok() {
                let _ = answer.await;
            }
        }
    }
}

/// Whether other tables can be copied nevertheless.
fn is_of_the_table(error: &Error) -> bool {
    !matches!(error.kind, Kind::Connection | Kind::Contention | Kind::Protocol | Kind::PositionLost | Kind::Internal)
}
