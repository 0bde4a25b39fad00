//! Changes of a transaction that is not committed yet, in order: the last of them in memory, all before in a file.
//!
//! The file has no name from right after it is made: whatever ends the applier, nothing of it stays. Only a kill between the two
//! steps leaves an empty one, which the next applier removes.

use std::{
    io::{Error as IoError, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgrelay_core::{Error, Result, error::Kind};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use crate::crash::{self, Point};

/// Bytes that are kept in memory before they are written, for each transaction.
const IN_MEMORY: usize = 256 << 10;

/// Bytes that are read at once.
const READ: usize = 512 << 10;

/// Before each change: its length, and the (sub)transaction that made it.
const HEADER: usize = 8;

/// What the names of the files begin with, as long as they have one.
const PREFIX: &str = "pgrelay-spill-";

/// The changes.
pub struct Spill {
    file: Option<File>,
    written: u64,
    tail: BytesMut,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Spilled {
    /// The (sub)transaction that made it.
    pub xid: u32,
    /// The message, as it is sent for a committed transaction.
    pub payload: Bytes,
}

impl Spill {
    /// Empty.
    pub fn new() -> Spill {
        Spill { file: None, written: 0, tail: BytesMut::new() }
    }

    /// Adds a change.
    ///
    /// Errors: `InsufficientResources` when the folder for temporary files takes no more.
    pub async fn push(&mut self, xid: u32, payload: &[u8]) -> Result<()> {
        // A message of the protocol is shorter than 1 GB.
        self.tail.put_u32(payload.len() as u32);
        self.tail.put_u32(xid);
        if payload.len() >= IN_MEMORY {
            // A wide row is not copied.
            let header = self.tail.split();
            self.write(&header).await?;
            return self.write(payload).await;
        }
        self.tail.extend_from_slice(payload);
        if self.tail.len() < IN_MEMORY {
            return Ok(());
        }
        let mut tail = std::mem::take(&mut self.tail);
        self.write(&tail).await?;
        tail.clear();
        self.tail = tail;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(nameless(&folder()).map_err(refused)?),
        };
        file.write_all(bytes).await.map_err(refused)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Takes them out again, in order.
    pub async fn read(mut self) -> Result<Reading> {
        if let Some(file) = &mut self.file {
            // What an earlier write could not put there is told here.
            file.flush().await.map_err(refused)?;
            file.seek(SeekFrom::Start(0)).await.map_err(refused)?;
        }
        Ok(Reading { left: self.written, read: BytesMut::new(), spill: self })
    }
}

/// The changes, being taken out.
pub struct Reading {
    spill: Spill,
    left: u64,
    read: BytesMut,
}

impl Reading {
    /// The next change.
    pub async fn next(&mut self) -> Result<Option<Spilled>> {
        loop {
            let mut missing = READ;
            if let Some(header) = self.read.first_chunk::<HEADER>() {
                let length = HEADER + u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
                if self.read.len() >= length {
                    let mut record = self.read.split_to(length).freeze();
                    record.advance(HEADER - 4);
                    let xid = record.get_u32();
                    return Ok(Some(Spilled { xid, payload: record }));
                }
                // Room for a wide row is made once.
                missing = missing.max(length - self.read.len());
            }
            if !self.more(missing).await? {
                return Ok(None);
            }
        }
    }

    async fn more(&mut self, room: usize) -> Result<bool> {
        match self.spill.file.as_mut().filter(|_| self.left > 0) {
            Some(file) => {
                self.read.reserve(room);
                let count = file.read_buf(&mut self.read).await.map_err(refused)?;
                self.left = self.left.saturating_sub(count as u64);
                if count > 0 { Ok(true) } else { Err(Error::new(Kind::Internal, "a file of changes ends before its end")) }
            }
            None => {
                let tail = self.spill.tail.split();
                self.read.extend_from_slice(&tail);
                Ok(!tail.is_empty())
            }
        }
    }
}

/// Removes what a kill between making a file and taking its name has left in the folder for temporary files.
///
/// Another applier's file may be hit in that moment, which only takes its name a moment earlier.
pub fn sweep() {
    let Ok(entries) = std::fs::read_dir(folder()) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)) {
        // Of another user, perhaps.
        let _ = std::fs::remove_file(entry.path());
    }
}

fn folder() -> PathBuf {
    std::env::temp_dir()
}

fn nameless(folder: &Path) -> std::result::Result<File, IoError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = folder.join(name);
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    crash::at(Point::FileMade);
    match std::fs::remove_file(&path) {
        // Another applier that begins has swept it away.
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(File::from_std(file)),
    }
}

fn refused(error: IoError) -> Error {
    Error::new(Kind::InsufficientResources, "a large transaction cannot be kept in a file until it commits")
        .detail(format!("The folder for temporary files of the applier is \"{}\".", folder().display()))
        .hint("Make room there, or start the applier with TMPDIR set to a folder with room for the largest transaction.")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_comes_out_in_order_and_has_no_name_meanwhile() {
        // Past the bound several times, with one change larger than it.
        let sizes = [0, 1, 100, 300_000, 5, 3_000_000, 70_000, 70_000, 70_000, 70_000, 9];
        let mut spill = Spill::new();
        for (n, size) in sizes.into_iter().enumerate() {
            spill.push(n as u32, &vec![n as u8; size]).await.expect("kept");
        }
        assert!(spill.file.is_some() && spill.tail.len() < IN_MEMORY);
        let own = format!("{PREFIX}{}-", std::process::id());
        let entries = std::fs::read_dir(folder()).expect("a folder").flatten();
        assert_eq!(entries.filter(|e| e.file_name().to_string_lossy().starts_with(&own)).count(), 0);
        let mut changes = spill.read().await.expect("read");
        for (n, size) in sizes.into_iter().enumerate() {
            let kept = changes.next().await.expect("read");
            assert_eq!(kept, Some(Spilled { xid: n as u32, payload: Bytes::from(vec![n as u8; size]) }));
        }
        assert_eq!(changes.next().await.expect("the end"), None);
    }

    #[tokio::test]
    async fn a_small_transaction_stays_in_memory() {
        let mut spill = Spill::new();
        spill.push(7, b"change").await.expect("kept");
        assert!(spill.file.is_none());
        let mut changes = spill.read().await.expect("read");
        assert_eq!(changes.next().await.expect("read"), Some(Spilled { xid: 7, payload: Bytes::from_static(b"change") }));
        assert_eq!(changes.next().await.expect("the end"), None);
    }
}
