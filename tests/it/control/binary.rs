//! The `shardwright` binary that the clusters of these tests run.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use escargot::CargoBuild;

/// Its path. `cargo xtask test` names the one that it has built; otherwise it is built here, once.
pub(crate) fn shardwright() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("SHARDWRIGHT_TEST_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let built = CargoBuild::new()
        .package("shardwright-cli")
        .bin("shardwright")
        .current_release()
        .run();
    built.expect("build shardwright").path().to_owned()
}
