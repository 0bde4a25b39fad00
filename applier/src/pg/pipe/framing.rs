//! Rows from the messages of one side into the messages of the other.
//!
//! The source sends each row as a CopyData message. Where a message ends means nothing to the peer, so its messages are cut as
//! suits us: many small rows in one, a large row in many. Nothing is kept but the piece at hand.

use bytes::{Buf, BufMut, BytesMut};
use pgrelay_core::error::Result;

use crate::pg::wire::malformed;

/// Tag and length in front of every message.
const HEADER: usize = 5;

/// Takes CopyData messages apart as they arrive.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// Bytes of the message at hand that are still to come.
    left: usize,
    /// Messages begun.
    messages: u64,
}

/// Why `take` stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// All that has arrived is taken.
    Empty,
    /// There is no more room.
    Full,
    /// A message of another kind stands at the front.
    Other,
}

impl Framing {
    /// Moves what has arrived into one CopyData message behind `out`, of at most `room` bytes of rows.
    ///
    /// Returns how many bytes of rows that were.
    pub(super) fn take(&mut self, inbox: &mut BytesMut, out: &mut BytesMut, room: usize) -> Result<(usize, Stopped)> {
        let header = out.len();
        out.reserve(HEADER + room.min(inbox.len()));
        out.put_slice(&[b'd', 0, 0, 0, 0]);
        let begin = out.len();
        let stopped = self.move_rows(inbox, out, begin + room)?;
        let moved = out.len() - begin;
        if moved == 0 {
            out.truncate(header);
        } else {
            out[header + 1..begin].copy_from_slice(&(moved as u32 + 4).to_be_bytes());
        }
        Ok((moved, stopped))
    }

    fn move_rows(&mut self, inbox: &mut BytesMut, out: &mut BytesMut, end: usize) -> Result<Stopped> {
        loop {
            let now = self.left.min(inbox.len()).min(end - out.len());
            out.put_slice(&inbox[..now]);
            inbox.advance(now);
            self.left -= now;
            if out.len() == end {
                return Ok(Stopped::Full);
            }
            if self.left > 0 {
                return Ok(Stopped::Empty);
            }
            match inbox.first_chunk::<HEADER>() {
                Some([b'd', length @ ..]) => {
                    let length = u32::from_be_bytes(*length);
                    self.left = length.checked_sub(4).ok_or_else(|| malformed("its length is out of range"))? as usize;
                    self.messages += 1;
                    inbox.advance(HEADER);
                }
                None if inbox.first().is_none_or(|tag| *tag == b'd') => return Ok(Stopped::Empty),
                _ => return Ok(Stopped::Other),
            }
        }
    }

    /// Rows of which at least the beginning was taken. In binary format the end of the data is a message too, and the header
    /// stands in front of the first row, so the last message does not count yet.
    pub(super) fn rows(&self, binary: bool) -> u64 {
        self.messages.saturating_sub(binary.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, payload: &[u8]) -> Vec<u8> {
        [&[tag], &(payload.len() as u32 + 4).to_be_bytes()[..], payload].concat()
    }

    /// The rows that arrive in pieces of `piece` bytes, as messages of at most `room`.
    fn through(arriving: &[u8], piece: usize, room: usize) -> (Vec<Vec<u8>>, Framing, BytesMut) {
        let (mut framing, mut inbox, mut out) = (Framing::default(), BytesMut::new(), BytesMut::new());
        'pieces: for piece in arriving.chunks(piece) {
            inbox.extend_from_slice(piece);
            loop {
                match framing.take(&mut inbox, &mut out, room).expect("valid").1 {
                    Stopped::Full => {}
                    Stopped::Empty => break,
                    Stopped::Other => break 'pieces,
                }
            }
        }
        let mut messages = vec![];
        while out.has_remaining() {
            assert_eq!(out.get_u8(), b'd');
            let length = out.get_u32() as usize - 4;
            messages.push(out.split_to(length).to_vec());
        }
        (messages, framing, inbox)
    }

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut() {
        let rows: Vec<Vec<u8>> = (0..40usize).map(|n| vec![n as u8; n * n % 61]).collect();
        let arriving = [rows.iter().flat_map(|r| message(b'd', r)).collect(), message(b'c', &[])].concat();
        for piece in 1..200 {
            for room in [1, 7, 64, 10_000] {
                let (messages, framing, inbox) = through(&arriving, piece, room);
                assert_eq!(messages.concat(), rows.concat(), "{piece} {room}");
                assert!(messages.iter().all(|m| !m.is_empty() && m.len() <= room), "{piece} {room}");
                assert_eq!((framing.rows(false), framing.rows(true)), (40, 39));
                assert_eq!(inbox[0], b'c');
            }
        }
        assert_eq!(through(&arriving, 100_000, 100_000).0.len(), 1, "small rows share a message");
    }

    #[test]
    fn a_length_below_its_own_is_refused() {
        let mut inbox = BytesMut::from(&[b'd', 0, 0, 0, 3][..]);
        Framing::default().take(&mut inbox, &mut BytesMut::new(), 100).expect_err("refused");
    }
}
