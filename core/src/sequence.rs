//! Sequences that two servers draw from without meeting.
//!
//! Each side takes steps of twice the length, one from an odd and the other from an even multiple of the old step: as many values as
//! before, whichever side draws them, and no range that one of them comes to the end of.

/// A sequence, as one server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// From one value to the next; never 0.
    pub increment: i64,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// It begins anew at its end.
    pub cycle: bool,
}

/// How far one server has drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// As the sequence shows it; with `CACHE` up to where some session may draw.
    pub last_value: i64,
    /// False: `last_value` is the next one to be drawn.
    pub is_called: bool,
}

/// What both servers do from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interleaved {
    /// Their common step.
    pub increment: i64,
    /// The next value on the source.
    pub source: i64,
    /// The next value on the peer.
    pub peer: i64,
}

/// Why a sequence stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// After its end it would give values of the other side.
    Cycles,
    /// There are no values left that both could draw.
    Exhausted,
}

impl Unfit {
    /// A sentence for a DBA.
    pub fn reason(self) -> &'static str {
        match self {
            Unfit::Cycles => "It begins anew at its end (CYCLE), where both sides would draw the same values.",
            Unfit::Exhausted => "It has too few values left for both sides.",
        }
    }
}

/// How two servers draw from a sequence without meeting, past all that either has drawn.
pub fn interleave(sequence: Sequence, source: Drawn, peer: Drawn) -> Result<Interleaved, Unfit> {
    let Sequence { increment, min, max, cycle } = sequence;
    if cycle {
        return Err(Unfit::Cycles);
    }
    // In 128 bits nothing overflows.
    let step = i128::from(increment);
    let drawn = |side: Drawn| i128::from(side.last_value) - if side.is_called { 0 } else { step };
    let (source, peer) = (drawn(source), drawn(peer));
    let last = if step > 0 { source.max(peer) } else { source.min(peer) };
    let fits = |value: i128| (i128::from(min)..=i128::from(max)).contains(&value).then_some(value).and_then(|v| i64::try_from(v).ok());
    let (source, peer) = (fits(last + step).ok_or(Unfit::Exhausted)?, fits(last + 2 * step).ok_or(Unfit::Exhausted)?);
    let increment = i64::try_from(2 * step).map_err(|_| Unfit::Exhausted)?;
    Ok(Interleaved { increment, source, peer })
}

/// The next value of a sequence that one server goes on with alone, past all that either has drawn; the end of its values if there is
/// none.
pub fn rejoin(sequence: Sequence, source: Drawn, peer: Drawn) -> Drawn {
    let forward = sequence.increment > 0;
    let is_further = if forward { peer.last_value > source.last_value } else { peer.last_value < source.last_value };
    if is_further { peer } else { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sequence = Sequence { increment: 1, min: 1, max: i64::MAX, cycle: false };

    fn at(last_value: i64) -> Drawn {
        Drawn { last_value, is_called: true }
    }

    #[test]
    fn both_sides_draw_past_all_that_was_drawn_and_never_the_same() {
        for (increment, source, peer) in [(1, 7, 3), (1, 3, 7), (5, 21, 11), (-1, -4, -9), (-3, 100, 40)] {
            let sequence = Sequence { increment, min: i64::MIN, ..PLAIN };
            let both = interleave(sequence, at(source), at(peer)).expect("fits");
            let drawn = |first: i64| (0..1000).map(move |n| first + n * both.increment).collect::<std::collections::BTreeSet<i64>>();
            let (ours, theirs) = (drawn(both.source), drawn(both.peer));
            assert!(ours.is_disjoint(&theirs), "{increment}");
            let past = |value: &i64| if increment > 0 { *value > source.max(peer) } else { *value < source.min(peer) };
            assert!(ours.iter().chain(&theirs).all(past), "{increment}");
            // Together they leave no value out.
            assert_eq!((both.peer - both.source).abs(), increment.abs());
        }
    }

    #[test]
    fn a_sequence_that_was_never_called_begins_with_its_first_value() {
        let fresh = Drawn { last_value: 1, is_called: false };
        assert_eq!(interleave(PLAIN, fresh, fresh), Ok(Interleaved { increment: 2, source: 1, peer: 2 }));
    }

    #[test]
    fn what_cannot_be_kept_apart_is_told() {
        assert_eq!(interleave(Sequence { cycle: true, ..PLAIN }, at(1), at(1)), Err(Unfit::Cycles));
        assert_eq!(interleave(Sequence { max: 10, ..PLAIN }, at(9), at(3)), Err(Unfit::Exhausted));
        assert_eq!(interleave(PLAIN, at(i64::MAX - 1), at(1)), Err(Unfit::Exhausted));
        assert_eq!(interleave(Sequence { increment: i64::MAX, ..PLAIN }, at(1), at(1)), Err(Unfit::Exhausted));
        assert_eq!(interleave(Sequence { increment: -1, min: 1, ..PLAIN }, at(2), at(9)), Err(Unfit::Exhausted));
    }

    #[test]
    fn a_side_that_goes_on_alone_begins_past_both() {
        assert_eq!(rejoin(PLAIN, at(7), at(12)), at(12));
        assert_eq!(rejoin(Sequence { increment: -2, ..PLAIN }, at(-7), at(-12)), at(-12));
        assert_eq!(rejoin(PLAIN, at(12), Drawn { last_value: 7, is_called: false }), at(12));
    }
}
