//! Commits over several shards that were interrupted, as the command shows and finishes them.

use crate::{command::run, fixture::Fixture};

#[test]
fn an_interrupted_commit_is_listed_and_finished() {
    let fixture = Fixture::new();
    let (source, shop) = (fixture.arg("shop.db"), fixture.arg("shop"));
    run(["import", &source, "--into", &shop, "--shards", "3"]).success();
    let whole = "every commit is on all of its shards\n";
    assert_eq!(run(["tx", "list", &shop]).success(), whole);
    let last = fixture.path("shop").join("shard-2.db");
    let before = std::fs::read(&last).expect("read a shard");
    let update = "UPDATE customers SET country = 'xx'";
    run(["sql", &shop, "-e", update]).success();

    // A crash before the last shard had it leaves it as it was.
    std::fs::write(&last, before).expect("write a shard");
    let listed = run(["tx", "list", &shop]).success();
    assert!(
        listed.ends_with("decided by shard-0, missing on shard-2\n"),
        "{listed}"
    );
    let resolved = run(["tx", "resolve", &shop]).success();
    assert!(resolved.ends_with("is on shard-2 now\n"), "{resolved}");
    assert_eq!(run(["tx", "list", &shop]).success(), whole);
    assert_eq!(run(["tx", "resolve", &shop]).success(), whole);
    let count = "SELECT count(*) FROM customers WHERE country = 'xx'";
    let counted = run(["sql", &shop, "--consistent", "-o", "csv", "-e", count]).success();
    assert!(counted.contains("40"), "{counted}");
}
