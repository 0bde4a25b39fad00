//! The order of things that need each other: strongly connected parts, and Kahn's order with a stable preference.
//!
//! Works on plain numbers; `plan` decides what they stand for and how a cycle is broken.

pub(crate) mod body;

use std::{cmp::Reverse, collections::BinaryHeap};

/// What each number needs.
pub(crate) type Needs = Vec<Vec<usize>>;

/// All numbers so that each comes after what it needs; among those that may come next the smallest does.
///
/// Errors: the numbers that wait for one another.
pub(crate) fn sort(needs: &Needs) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting: Vec<usize> = vec![0; needs.len()];
    let mut wanted_by: Needs = vec![vec![]; needs.len()];
    for (one, list) in needs.iter().enumerate() {
        for &other in list {
            waiting[one] += 1;
            wanted_by[other].push(one);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..needs.len()).filter(|&i| waiting[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for &one in &wanted_by[next] {
            waiting[one] -= 1;
            if waiting[one] == 0 {
                ready.push(Reverse(one));
            }
        }
    }
    if order.len() == needs.len() { Ok(order) } else { Err((0..needs.len()).filter(|&i| waiting[i] > 0).collect()) }
}

/// The groups of more than one that need each other in a circle (Tarjan, without recursion), each sorted.
pub(crate) fn cycles(needs: &Needs) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let count = needs.len();
    let (mut index, mut low) = (vec![UNSEEN; count], vec![0; count]);
    let (mut on_stack, mut stack, mut next) = (vec![false; count], Vec::new(), 0);
    let mut found = Vec::new();
    for root in 0..count {
        if index[root] != UNSEEN {
            continue;
        }
        let mut work = vec![(root, 0)];
        while let Some((v, at)) = work.pop() {
            if at == 0 {
                (index[v], low[v]) = (next, next);
                next += 1;
                stack.push(v);
                on_stack[v] = true;
            }
            if let Some(&w) = needs[v].get(at) {
                work.push((v, at + 1));
                if index[w] == UNSEEN {
                    work.push((w, 0));
                } else if on_stack[w] {
                    low[v] = low[v].min(index[w]);
                }
                continue;
            }
            if let Some(&(parent, _)) = work.last() {
                low[parent] = low[parent].min(low[v]);
            }
            if low[v] == index[v] {
                let from = stack.iter().rposition(|&s| s == v).unwrap_or(0);
                let mut group = stack.split_off(from);
                group.iter().for_each(|&s| on_stack[s] = false);
                if group.len() > 1 {
                    group.sort_unstable();
                    found.push(group);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_the_smallest_goes_before_its_equals() {
        assert_eq!(sort(&vec![vec![3], vec![], vec![], vec![2]]), Ok(vec![1, 2, 3, 0]));
        assert_eq!(sort(&vec![vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn a_circle_is_reported_not_lost() {
        assert_eq!(sort(&vec![vec![1], vec![0], vec![], vec![0]]), Err(vec![0, 1, 3]));
        assert_eq!(cycles(&vec![vec![1], vec![0], vec![], vec![0]]), vec![vec![0, 1]]);
    }

    #[test]
    fn circles_are_found_apart() {
        let needs = vec![vec![1], vec![2], vec![0, 3], vec![4], vec![3], vec![]];
        let mut found = cycles(&needs);
        found.sort();
        assert_eq!(found, vec![vec![0, 1, 2], vec![3, 4]]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_needs_no_stack() {
        let needs: Needs = (0..100_000).map(|i| if i == 0 { vec![] } else { vec![i - 1] }).collect();
        assert!(cycles(&needs).is_empty());
        assert_eq!(sort(&needs).map(|o| o.len()), Ok(100_000));
    }
}
