//! `keys`, `reassign` and `stats`: homes and other names of keys.

use crate::{
    command::run,
    fixture::{Fixture, ask},
};

#[test]
fn a_key_moves_with_its_rows_and_is_found_by_other_names() {
    let (_fixture, shop) = Fixture::imported();
    let orders = "SELECT count(*), sum(amount) FROM orders WHERE customer_id = 7";
    let before = ask(&shop, orders);
    for shard in ["shard-3", "shard-1"] {
        let said = run(["reassign", &shop, "7", shard, "--table", "customers"]).success();
        assert!(said.contains(shard), "{said}");
        let located = run(["locate", &shop, "7", "--table", "orders"]).success();
        assert!(located.contains(shard), "{located}");
        assert_eq!(ask(&shop, orders), before);
    }
    let stats = run(["stats", &shop, "-o", "json"]).success();
    assert!(
        stats.contains("\"shard\": \"shard-1\", \"keys\": 1"),
        "{stats}"
    );
    let table = ["--table", "customers"];
    let keys = |command: &'static str, more: &[&str]| {
        let arguments = ["keys", command, shop.as_str()];
        run(arguments.iter().chain(more).chain(&table))
    };
    keys("add", &["7", "name:seven", "phone:7"]).success();
    keys("update", &["phone:7", "name:vii", "--form", "clear"]).success();
    assert_eq!(keys("list", &["7"]).success(), "clear:name:vii\n");
    let found = keys("find", &["name:vii", "-o", "json"]).success();
    assert!(
        found.contains("\"key\": 7") && found.contains("shard-1"),
        "{found}"
    );
    keys("remove", &["name:vii"]).success();
    assert_ne!(keys("find", &["name:vii"]).code, Some(0));
    let unknown = run(["reassign", &shop, "7", "shard-9", "--table", "customers"]);
    assert!(unknown.err.contains("SHARD_NOT_FOUND"), "{unknown:?}");
}
