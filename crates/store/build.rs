//! Says what the feature `capture` needs, where it is missing, before the linker fails on it.

use std::env;

const FLAGS: &str = "LIBSQLITE3_FLAGS";
const NEEDED: &str = "SQLITE_ENABLE_PREUPDATE_HOOK";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={FLAGS}");
    // The documentation is built without linking.
    if env::var_os("CARGO_FEATURE_CAPTURE").is_none() || env::var_os("DOCS_RS").is_some() {
        return;
    }
    if !env::var(FLAGS).is_ok_and(|flags| flags.contains(NEEDED)) {
        for line in [
            "the feature `capture` needs an SQLite that is compiled with its preupdate hook.",
            "Put these lines into .cargo/config.toml beside your workspace's Cargo.toml, and build again:",
            "[env]",
            &format!("{FLAGS} = \"-DSQLITE_ENABLE_SESSION -D{NEEDED}\""),
        ] {
            println!("cargo::error={line}");
        }
    }
}
