//! Sorted sources into one: a heap of their next rows.

use std::{cmp::Ordering, ops::ControlFlow};

use shardwright_store::Row;

use super::{compare::compare, feed::Feed};
use crate::{
    error::Error,
    meter::Meter,
    plan::{Term, Window},
};

pub(super) struct Merge<'m> {
    feeds: Vec<Feed>,
    order: &'m [Term],
    hidden: usize,
    meter: &'m Meter,
    /// The feeds that have a row; none goes after those below it.
    heap: Vec<usize>,
}

impl<'m> Merge<'m> {
    pub(super) fn new(
        feeds: Vec<Feed>,
        order: &'m [Term],
        hidden: usize,
        meter: &'m Meter,
    ) -> Self {
        Self {
            heap: Vec::with_capacity(feeds.len()),
            feeds,
            order,
            hidden,
            meter,
        }
    }

    /// Shows the rows of a window until `visit` breaks.
    pub(super) fn show(
        mut self,
        window: Window,
        visit: &mut dyn FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (mut skip, mut left) = (window.skip, window.take);
        if left == Some(0) {
            return Ok(());
        }
        if self.order.is_empty() {
            // Any order will do, so nobody waits for the first row of the slowest.
            self.heap = (0..self.feeds.len()).rev().collect();
            self.next_in_turn()?;
        } else {
            for feed in 0..self.feeds.len() {
                if self.feeds[feed].begin(self.meter)? {
                    self.heap.push(feed);
                }
            }
            for root in (0..self.heap.len() / 2).rev() {
                self.sink(root);
            }
        }
        while let Some(&next) = self.first() {
            if skip > 0 {
                skip -= 1;
            } else {
                if visit(&self.feeds[next].shown(self.hidden)).is_break() {
                    break;
                }
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    break;
                }
            }
            self.advance(next)?;
        }
        Ok(())
    }

    fn first(&self) -> Option<&usize> {
        if self.order.is_empty() {
            self.heap.last()
        } else {
            self.heap.first()
        }
    }

    fn advance(&mut self, feed: usize) -> Result<(), Error> {
        let more = self.feeds[feed].advance(self.meter)?;
        if self.order.is_empty() {
            if !more {
                self.heap.pop();
                self.next_in_turn()?;
            }
            return Ok(());
        }
        if !more {
            self.heap.swap_remove(0);
        }
        self.sink(0);
        Ok(())
    }

    /// Goes to the first row of the next feed that has one.
    fn next_in_turn(&mut self) -> Result<(), Error> {
        while let Some(&feed) = self.heap.last() {
            if self.feeds[feed].begin(self.meter)? {
                break;
            }
            self.heap.pop();
        }
        Ok(())
    }

    fn sink(&mut self, mut root: usize) {
        loop {
            let children = [2 * root + 1, 2 * root + 2]
                .into_iter()
                .filter(|child| *child < self.heap.len());
            let least = children.min_by(|a, b| self.compare(*a, *b));
            match least {
                Some(child) if self.compare(child, root).is_lt() => {
                    self.heap.swap(child, root);
                    root = child;
                }
                _ => return,
            }
        }
    }

    /// Compares the rows at two places of the heap; of equal ones that of the first shard is less.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (a, b) = (self.heap[a], self.heap[b]);
        let (left, right) = (self.feeds[a].row(), self.feeds[b].row());
        let terms = self.order.iter().map(|term| {
            let (left, right) = (left.get(term.column), right.get(term.column));
            match (left.is_null(), right.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) if term.nulls_first => Ordering::Less,
                (true, false) => Ordering::Greater,
                (false, true) if term.nulls_first => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) if term.descending => compare(right, left, term.collation),
                (false, false) => compare(left, right, term.collation),
            }
        });
        let mut unequal = terms.filter(|order| order.is_ne());
        unequal.next().unwrap_or_else(|| a.cmp(&b))
    }
}
