//! Which extents may adjoin: found by where they begin and end, however many there are.

use shardwright_topology::KeyRange;

use crate::Extent;

/// Where extents begin and end, in order, with their places in a list.
#[derive(Debug)]
pub(super) struct Neighbours<'a> {
    starts: Vec<(Edge<'a>, usize)>,
    ends: Vec<(Edge<'a>, usize)>,
}

/// Where an extent begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge<'a> {
    /// After the last position comes the first one.
    Position(u64),
    Key(&'a [u8]),
    Bucket(u32, u32, &'a [u8]),
}

impl<'a> Neighbours<'a> {
    pub(super) fn of(extents: impl Iterator<Item = &'a Extent>) -> Self {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for (place, extent) in extents.enumerate() {
            edges(
                extent,
                |edge| starts.push((edge, place)),
                |edge| ends.push((edge, place)),
            );
        }
        starts.sort_unstable();
        ends.sort_unstable();
        Self { starts, ends }
    }

    /// Returns the places of all that may adjoin an extent, in their order: whether they do has to be asked.
    pub(super) fn near(&self, extent: &'a Extent) -> Vec<usize> {
        let mut near = Vec::new();
        let mut touching = Vec::new();
        edges(
            extent,
            |start| near.extend(at(&self.ends, start)),
            |end| touching.extend(at(&self.starts, end)),
        );
        near.append(&mut touching);
        near.sort_unstable();
        near.dedup();
        near
    }
}

/// Returns the places of what is at an edge.
fn at<'e>(
    sorted: &'e [(Edge<'_>, usize)],
    edge: Edge<'_>,
) -> impl Iterator<Item = usize> + use<'e> {
    let from = sorted.partition_point(|(other, _)| *other < edge);
    let length = sorted[from..].partition_point(|(other, _)| *other == edge);
    sorted[from..from + length].iter().map(|(_, place)| *place)
}

/// Tells where an extent begins and ends.
fn edges<'a>(extent: &'a Extent, mut start: impl FnMut(Edge<'a>), mut end: impl FnMut(Edge<'a>)) {
    match extent {
        Extent::Positions { ranges } => {
            for range in ranges {
                start(Edge::Position(range.start().0));
                end(Edge::Position(KeyRange::end(range).map_or(0, |end| end.0)));
            }
        }
        Extent::Keys { span } => {
            start(Edge::Key(&span.start));
            span.end.iter().for_each(|key| end(Edge::Key(key)));
        }
        Extent::Bucket {
            bucket,
            buckets,
            span,
        } => {
            let edge = |key: &'a [u8]| Edge::Bucket(*bucket, *buckets, key);
            start(edge(&span.start));
            span.end.iter().for_each(|key| end(edge(key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{KeyRange, Position};

    use super::*;
    use crate::KeySpan;

    /// Whatever adjoins is found, and nothing is far that does.
    #[track_caller]
    fn check(extents: &[Extent]) {
        let neighbours = Neighbours::of(extents.iter());
        for extent in extents {
            let near = neighbours.near(extent);
            for (place, other) in extents.iter().enumerate() {
                let adjoins = extent.adjoins(other);
                assert!(!adjoins || near.contains(&place), "{extent:?} {other:?}");
            }
        }
    }

    #[test]
    fn all_that_adjoin_are_near() {
        let range = |start, end: Option<u64>| {
            KeyRange::new(Position(start), end.map(Position)).expect("a range")
        };
        let ring = |ranges: &[KeyRange]| Extent::ranges(ranges.iter().copied()).expect("apart");
        check(&[
            ring(&[range(0, Some(10)), range(20, Some(30))]),
            ring(&[range(10, Some(20)), range(30, Some(40))]),
            ring(&[range(900, None)]),
            ring(&[range(40, Some(900))]),
        ]);
        let span = |start: &str, end: Option<&str>| KeySpan {
            start: start.into(),
            end: end.map(Into::into),
        };
        let spans = [span("", Some("g")), span("g", Some("p")), span("p", None)];
        let keys: Vec<_> = spans
            .iter()
            .map(|span| Extent::Keys { span: span.clone() })
            .collect();
        check(&keys);
        let bucket = |bucket| {
            spans.iter().map(move |span| Extent::Bucket {
                bucket,
                buckets: 2,
                span: span.clone(),
            })
        };
        check(&bucket(0).chain(bucket(1)).collect::<Vec<_>>());
    }
}
