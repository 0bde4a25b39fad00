//! A worker: one session on the source, and two on the peer: one writes rows, one reads marks.

use std::{collections::HashSet, sync::Arc};

use pgrelay_core::{Error, Result, error::Kind};
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::{
    Job, Setting,
    board::{Board, Leave, Work},
    finish::{Lot, tell_failed},
    session,
    shape::Rules,
    split::Helped,
    table::{self, Hands},
};
use crate::{
    pg::pipe::Session,
    store::{Event, Level},
};

/// Copies what the board has until nothing is left.
pub struct Worker {
    /// What every worker needs.
    pub setting: Setting,
    /// Which of them it is.
    pub number: u32,
    /// What is to be done.
    pub board: Arc<Board>,
    /// Takes what is copied, and tells the board when it is done.
    pub rows_are_in: mpsc::UnboundedSender<Lot>,
}

struct Sessions {
    source: Session,
    peer: Session,
    marks: Client,
}

impl Worker {
    /// Works, until there is nothing to do, fewer are wanted, or a server has no room for one more. An error that is of one table only
    /// goes to the board.
    pub async fn run(self) -> Result<()> {
        let mut refused = HashSet::new();
        let mut sessions = None;
        while let Some(work) = self.next(&refused).await {
            let open = match sessions.take() {
                Some(open) => open,
                None => match self.connect().await {
                    Ok(open) => open,
                    Err(error) if is_a_limit(&error) => return self.leave(work, error).await,
                    Err(error) => return Err(error),
                },
            };
            sessions = match work {
                Work::Help(split) => self.help(open, &split, &mut refused).await?,
                Work::Lot(lot) => self.lot(open, lot).await?,
            };
        }
        self.board.quit();
        Ok(())
    }

    /// The others do the work; the last one cannot leave it.
    async fn leave(self, work: Work, error: Error) -> Result<()> {
        let s = &self.setting;
        match self.board.leave(work) {
            Leave::No => Err(error),
            Leave::AsOthers => Ok(()),
            Leave::First => {
                let message = format!("fewer workers copy than copy_jobs says ({}): a server has no room for one more", s.workers());
                let event = Event { detail: Some(error.message), ..Event::new(Level::Warning, "copy_jobs_limited", message) };
                let hint =
                    "Lower copy_jobs, or raise max_replication_slots on the peer (each worker needs an origin there) or max_connections.";
                s.store.event(&s.task, &event.hint(hint)).await
            }
        }
    }

    /// What to do next; none: nothing any more.
    async fn next(&self, refused: &HashSet<u32>) -> Option<Work> {
        let mut options = self.setting.options.clone();
        tokio::select! {
            biased;
            Ok(_) = options.wait_for(|o| o.copy_jobs <= self.number) => None,
            work = self.board.next(refused, self.setting.retry()) => work,
        }
    }

    async fn connect(&self) -> Result<Sessions> {
        let s = &self.setting;
        let name = format!("{} copy", s.names.origin);
        let source = session::source(s, &name).await?;
        let peer = session::peer(s, &name, self.number).await?;
        Ok(Sessions { source, peer, marks: session::marks(s, &name).await? })
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

    async fn lot(&self, mut open: Sessions, lot: Vec<Job>) -> Result<Option<Sessions>> {
        let usable = match self.copy(&mut open, &lot).await {
            Ok(Some(copied)) => {
                // What follows goes on beside the next copy. Nobody takes it only when all is being ended.
                let _ = self.rows_are_in.send(Lot { jobs: lot, copied });
                return Ok(Some(open));
            }
            Ok(None) => {
                self.board.alone(lot);
                true
            }
            Err(error) if is_of_the_table(&error) => {
                tell_failed(&self.setting, &self.board, lot, error).await?;
                false
            }
            Err(error) => return Err(error),
        };
        self.board.done();
        Ok(usable.then_some(open))
    }

    /// None: several tables are to be tried one by one.
    async fn copy(&self, open: &mut Sessions, lot: &[Job]) -> Result<Option<table::Copied>> {
        let s = &self.setting;
        let same_major = open.source.server_version_num() / 10000 == open.peer.server_version_num() / 10000;
        let mut hands = Hands {
            s,
            source: &mut open.source,
            peer: &mut open.peer,
            marks: &open.marks,
            rules: Rules { exact: s.exact, same_major },
            board: &self.board,
        };
        table::copy(&mut hands, lot).await
    }
}

/// Whether a server refuses one more connection (too_many_connections) or one more origin (configuration_limit_exceeded).
fn is_a_limit(error: &Error) -> bool {
    matches!(error.server_sqlstate.as_deref(), Some("53300" | "53400"))
}

/// Whether other tables can be copied nevertheless.
pub fn is_of_the_table(error: &Error) -> bool {
    !matches!(error.kind, Kind::Connection | Kind::Contention | Kind::Protocol | Kind::PositionLost | Kind::Internal)
}
