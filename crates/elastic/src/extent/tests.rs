//! Extents are divided and joined without a key lost or owned twice.

use proptest::prelude::*;
use shardwright_topology::{KeyRange, Position};

use super::{Cut, Extent, KeySpan};

fn span(start: &str, end: Option<&str>) -> KeySpan {
    KeySpan {
        start: start.as_bytes().to_vec(),
        end: end.map(|end| end.as_bytes().to_vec()),
    }
}

fn keys(start: &str, end: Option<&str>) -> Extent {
    Extent::Keys {
        span: span(start, end),
    }
}

#[test]
fn neighbours_join_and_others_do_not() {
    let (left, right) = (keys("a", Some("m")), keys("m", Some("z")));
    assert_eq!(Extent::join([&right, &left]), Some(keys("a", Some("z"))));
    assert_eq!(Extent::join([&left, &keys("n", None)]), None);
    let bucket = |bucket, span| Extent::Bucket {
        bucket,
        buckets: 2,
        span,
    };
    let (low, high) = (span("", Some("m")), span("m", None));
    assert!(Extent::join([&bucket(0, low.clone()), &bucket(0, high.clone())]).is_some());
    assert_eq!(Extent::join([&bucket(0, low), &bucket(1, high)]), None);
}

#[test]
fn three_join_in_any_order() {
    let parts: Vec<Extent> = KeyRange::even(3).map(Extent::range).collect();
    let whole = Extent::range(KeyRange::ALL);
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
        let extents = order.map(|at| &parts[at]);
        assert_eq!(Extent::join(extents), Some(whole.clone()), "{order:?}");
    }
    assert_eq!(Extent::join([&parts[0], &parts[2]]), None);
}

fn ring(ranges: &[(u64, u64)]) -> Extent {
    let range = |(start, end): &(u64, u64)| {
        KeyRange::new(Position(*start), Some(Position(*end))).expect("not empty")
    };
    Extent::ranges(ranges.iter().map(range)).expect("apart")
}

#[test]
fn a_cut_in_a_gap_divides_nothing_and_is_told_with_its_bounds() {
    let extent = ring(&[(10, 20), (30, 40), (50, 60)]);
    for (at, gap) in [
        (5, None),
        (10, None),
        (15, None),
        (20, Some((20, 30))),
        (25, Some((20, 30))),
        (30, Some((20, 30))),
        (31, None),
        (45, Some((40, 50))),
        (60, None),
    ] {
        let cut = Cut::Position { at: Position(at) };
        let found = extent.gap_at(&cut).map(|(from, to)| (from.0, to.0));
        assert_eq!(found, gap, "{at}");
        let divides = matches!(at, 15 | 31);
        assert_eq!(extent.split_at(&cut).is_some(), divides, "{at}");
    }
}

#[test]
fn the_middle_of_ranges_lies_inside_of_one() {
    for (ranges, middle) in [
        (&[(10, 20), (30, 40)][..], Some(19)),
        (&[(10, 20), (30, 50)], Some(35)),
        (&[(1, 2), (30, 32), (40, 41)], Some(31)),
        (&[(1, 2), (3, 4)], None),
    ] {
        let extent = ring(ranges);
        let cut = extent.middle();
        let at = middle.map(|at| Cut::Position { at: Position(at) });
        assert_eq!(cut, at, "{ranges:?}");
        assert!(cut.is_none_or(|cut| extent.split_at(&cut).is_some()));
    }
}

#[test]
fn a_median_that_lies_in_a_gap_gives_way_to_the_next_key() {
    let extent = ring(&[(10, 20), (30, 40)]);
    let cuts = |at: &[u64]| {
        let cut = |at: &u64| Cut::Position { at: Position(*at) };
        at.iter().map(cut).collect()
    };
    for (at, median) in [
        (&[11, 30, 35][..], Some(11)),
        (&[10, 30, 35], Some(35)),
        (&[10, 30], None),
    ] {
        let median = median.map(|at| Cut::Position { at: Position(at) });
        assert_eq!(extent.median_cut(cuts(at)), median, "{at:?}");
    }
}

#[test]
fn the_middle_of_a_span_is_between_its_ends() {
    for (start, end) in [("", None), ("a", Some("b")), ("user:1", Some("user:2"))] {
        let extent = keys(start, end);
        let cut = extent.middle().expect("there is room");
        let (low, high) = extent.split_at(&cut).expect("it lies inside");
        assert_eq!(Extent::join([&low, &high]), Some(extent));
    }
    assert_eq!(keys("a", Some("a\0")).middle(), None);
}

#[test]
fn an_extent_is_stored_and_read_back() {
    let extents = [
        Extent::ranges(KeyRange::even(4).step_by(2)).expect("apart"),
        keys("a", None),
        Extent::Bucket {
            bucket: 1,
            buckets: 4,
            span: span("", Some("\u{ff}")),
        },
    ];
    for extent in extents {
        let text = serde_json::to_string(&extent).expect("a text");
        let read: Extent = serde_json::from_str(&text).expect("as written");
        assert_eq!(read, extent, "{text}");
    }
    assert!(serde_json::from_str::<Cut>(r#"{"kind":"key","at":"6"}"#).is_err());
}

proptest! {
    #[test]
    fn each_key_is_in_one_part(at: u64, cut: u64, parts in 1_u32..6) {
        let extent = Extent::ranges(KeyRange::even(parts * 2).step_by(2)).expect("apart");
        let key = at.to_be_bytes();
        for cut in [Some(Cut::Position { at: Position(cut) }), extent.middle()].into_iter().flatten() {
            if let Some((low, high)) = extent.split_at(&cut) {
                prop_assert!(!low.overlaps(&high));
                prop_assert!(extent.covers(&low) && extent.covers(&high));
                let owners = u32::from(low.contains(&key)) + u32::from(high.contains(&key));
                prop_assert_eq!(owners, u32::from(extent.contains(&key)));
            }
        }
    }

    #[test]
    fn a_median_divides_the_keys_in_halves(keys in prop::collection::btree_set("[a-z]{1,8}", 2..60)) {
        let all = KeySpan::all();
        for extent in [Extent::range(KeyRange::ALL), Extent::Keys { span: all }] {
            let cut = extent.median(keys.iter().map(String::as_bytes)).expect("two keys or more");
            let (low, high) = extent.split_at(&cut).expect("both have keys");
            let low = keys.iter().filter(|key| low.contains(key.as_bytes())).count();
            let high = keys.iter().filter(|key| high.contains(key.as_bytes())).count();
            prop_assert!(low.abs_diff(high) <= 1, "{} and {}", low, high);
        }
    }
}
