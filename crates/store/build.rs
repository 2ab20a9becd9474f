//! Says what the feature `capture` needs, where it is missing, before the linker fails on it.

use std::env;

const FLAGS: &str = "LIBSQLITE3_FLAGS";
const NEEDED: &str = "SQLITE_ENABLE_PREUPDATE_HOOK";

#[expect(clippy::print_stderr, reason = "cargo shows it to whoever builds")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={FLAGS}");
    if env::var_os("CARGO_FEATURE_CAPTURE").is_none() || env::var_os("DOCS_RS").is_some() {
        return;
    }
    if !env::var(FLAGS).is_ok_and(|flags| flags.contains(NEEDED)) {
        println!(
            "cargo:warning=the feature `capture` of shardwright-store needs an SQLite with its preupdate hook"
        );
        eprintln!(
            "The feature `capture` of shardwright-store needs an SQLite that is compiled with its preupdate hook.\n\
             Put this into `.cargo/config.toml` beside your workspace's `Cargo.toml`, and build again:\n\n\
             [env]\n\
             {FLAGS} = \"-DSQLITE_ENABLE_SESSION -D{NEEDED}\"\n"
        );
        std::process::exit(1);
    }
}
