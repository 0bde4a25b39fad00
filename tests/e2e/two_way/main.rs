//! Two directions of one task: no change comes back, each direction goes by its own policy and its own commands.

mod deletions;
mod directions;
mod flow;
mod life;
mod policies;
mod races;
mod sides;
mod third;
mod weighed;
