//! Every Rust file is a part of some crate.

use crate::{
    report::Problem,
    source::{File, Tree},
};

/// Directories in which cargo takes every file for the root of a crate of its own.
const ROOT_DIRECTORIES: [&str; 3] = ["examples", "benches", "bin"];

/// Reports Rust files that no other file declares with `mod`.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree
        .files
        .iter()
        .filter(|file| file.is_rust() && !is_root(file))
    {
        let declared = tree.files.iter().any(|parent| is_parent(parent, file));
        if !declared {
            let message = format!(
                "no file declares `mod {};`, so it is never compiled",
                file.stem()
            );
            problems.push(Problem::of(&file.path, message));
        }
    }
}

fn is_root(file: &File) -> bool {
    let directory = file.directory().rsplit('/').next().unwrap_or_default();
    let tests = directory == "tests" && !file.path.contains("/src/");
    matches!(file.stem(), "lib" | "main" | "build")
        || ROOT_DIRECTORIES.contains(&directory)
        || tests
}

/// Whether `parent` declares `file`: `a/b.rs` is declared by `a.rs`, or by the root beside it.
fn is_parent(parent: &File, file: &File) -> bool {
    let above = format!("{}.rs", file.directory());
    let beside = parent.directory() == file.directory() && is_root(parent);
    let declaration = format!("mod {};", file.stem());
    (parent.path == above || beside)
        && parent.lines().any(|(_, line)| {
            line.strip_suffix(&declaration)
                .is_some_and(|before| !before.contains("//"))
        })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn a_file_that_nothing_declares_is_reported() {
        let files = [
            ("x/src/lib.rs", "mod ring;\npub mod map;\n// mod gone;\n"),
            ("x/src/ring.rs", "mod tokens;\n"),
            ("x/src/ring/tokens.rs", ""),
            ("x/src/ring/lost.rs", ""),
            ("x/src/map.rs", ""),
            ("x/src/gone.rs", ""),
            ("x/examples/e.rs", ""),
            ("x/tests/t.rs", ""),
        ];
        expect![[r#"
            x/src/gone.rs: no file declares `mod gone;`, so it is never compiled
            x/src/ring/lost.rs: no file declares `mod lost;`, so it is never compiled
        "#]]
        .assert_eq(&found(check, &files));
    }
}
