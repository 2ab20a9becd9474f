//! Rules about pages, changes and digests.

use shardwright_topology::{KeyRange, Lsn};

use super::{Bench, FEW, operation, source, target, whole};
use crate::{Batch, Digest, Extent};

/// Pages of different moments with all changes after the first one make the source of a later moment.
///
/// # Panics
/// If they do not.
pub async fn a_copy_with_its_changes_equals_the_source(bench: &Bench) {
    let id = operation("op-1");
    for number in 0..10 {
        bench.put(&source(), number, "old");
    }
    let import = bench.begin(&id).await;
    let first = bench.store.scan(&source(), &whole(), None, FEW).await;
    let first = first.expect("a shard is scanned");
    bench.put(&source(), 0, "new");
    bench.put(&source(), 9, "new");
    bench.delete(&source(), 1);
    bench.delete(&source(), 8);
    let import = {
        let stored = bench.store.import(&id, &target(), &source(), first).await;
        assert_ne!(stored.as_ref().ok(), Some(&import), "a page is stored");
        stored.expect("a page is stored")
    };
    let import = bench.copy(&id, import).await;
    bench.put(&source(), 20, "after the copy");
    let import = bench.catch_up(&id, import).await;
    assert!(
        import.is_consistent(),
        "all changes were applied: {import:?}"
    );
    let of_source = bench.store.digest(&source(), &whole()).await;
    let of_source = of_source.expect("a shard has a digest");
    let of_target = bench
        .store
        .digest_of_import(&id, &target(), &source(), &whole())
        .await;
    let of_target = of_target.expect("a target has a digest");
    assert_eq!(of_source, of_target, "equal rows at equal positions");
    assert_eq!(of_source.digest.rows, 9);
    let again = bench
        .store
        .follow(&id, &source())
        .await
        .expect("it is followed");
    assert!(
        again < import.applied,
        "following again does not begin again"
    );
}

/// A page or changes that come again, or too late, leave the target as it is.
///
/// # Panics
/// If they do not.
pub async fn a_page_that_does_not_follow_changes_nothing(bench: &Bench) {
    let id = operation("op-1");
    for number in 0..7 {
        bench.put(&source(), number, "old");
    }
    let import = bench.begin(&id).await;
    let page = bench.store.scan(&source(), &whole(), None, FEW).await;
    let page = page.expect("a shard is scanned");
    let once = bench
        .store
        .import(&id, &target(), &source(), page.clone())
        .await;
    let once = once.expect("a page is stored");
    let twice = bench
        .store
        .import(&id, &target(), &source(), page.clone())
        .await;
    assert_eq!(twice.ok().as_ref(), Some(&once), "a page that comes twice");
    assert_eq!(once.cursor, page.next, "the cursor is where the page ends");
    bench.put(&source(), 0, "new");
    let early = bench.changes(import.applied, None, FEW).await;
    let early = bench.store.apply(&id, &target(), &source(), early).await;
    assert_eq!(early.ok().as_ref(), Some(&once), "changes before all pages");
    let import = bench.copy(&id, once).await;
    let changes = bench.changes(import.applied, None, FEW).await;
    let once = bench
        .store
        .apply(&id, &target(), &source(), changes.clone())
        .await;
    let once = once.expect("changes are applied");
    bench.put(&source(), 0, "newer");
    let import = bench.catch_up(&id, once).await;
    let late = bench.store.apply(&id, &target(), &source(), changes).await;
    assert_eq!(late.ok().as_ref(), Some(&import), "changes that come again");
    let late = bench.store.import(&id, &target(), &source(), page).await;
    assert_eq!(late.ok().as_ref(), Some(&import), "a page that comes again");
    let of_source = bench.store.digest(&source(), &whole()).await;
    let of_target = bench
        .store
        .digest_of_import(&id, &target(), &source(), &whole())
        .await;
    assert_eq!(of_source.ok(), of_target.ok(), "nothing old came back");
}

/// Changes come in the order of their positions, without gaps, up to where was asked, and as many as were asked for.
///
/// # Panics
/// If they do not.
pub async fn changes_come_in_order_and_in_parts(bench: &Bench) {
    let id = operation("op-1");
    let import = bench.begin(&id).await;
    for number in 0..8 {
        bench.put(&source(), number, "new");
    }
    let all = bench
        .changes(import.applied, None, Batch { rows: 100, ..FEW })
        .await;
    let positions: Vec<u64> = all.changes.iter().map(|each| each.position.0).collect();
    let first = import.applied.0 + 1;
    assert_eq!(positions, (first..first + 8).collect::<Vec<_>>());
    assert_eq!((all.through, all.head), (Lsn(first + 7), Lsn(first + 7)));
    let part = bench.changes(import.applied, None, FEW).await;
    assert_eq!(
        part.changes,
        all.changes[..part.changes.len()],
        "a part is the beginning"
    );
    assert_eq!(part.through.0 - import.applied.0, part.changes.len() as u64);
    let up_to = Some(Lsn(first + 1));
    let bounded = bench
        .changes(import.applied, up_to, Batch { rows: 100, ..FEW })
        .await;
    assert_eq!((bounded.changes.len(), Some(bounded.through)), (2, up_to));
}

/// The digests of the parts of an extent add up to the digest of the whole.
///
/// # Panics
/// If they do not.
pub async fn digests_add_up(bench: &Bench) {
    for number in 0..50 {
        bench.put(&source(), number, "value");
    }
    let whole = bench
        .store
        .digest(&source(), &whole())
        .await
        .expect("a digest")
        .digest;
    let mut sum = Digest::default();
    for range in KeyRange::even(3) {
        let part = bench.store.digest(&source(), &Extent::range(range)).await;
        sum = sum.and(part.expect("a digest").digest);
    }
    assert_eq!(sum, whole);
    assert_eq!(whole.rows, 50);
    let metrics = bench
        .store
        .metrics(&source())
        .await
        .expect("a shard has metrics");
    assert_eq!(metrics.key_count, 50);
    let median = bench
        .store
        .median(&source())
        .await
        .expect("a shard has rows");
    assert!(median.is_some(), "50 rows can be divided");
}
