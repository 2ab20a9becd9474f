//! Dependencies come from crates.io.

use crate::{report::Problem, source::Tree};

const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Reports packages of `Cargo.lock` that come from anywhere else.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.path == "Cargo.lock") {
        for (number, line) in file.lines() {
            if line.starts_with("source = ") && line != CRATES_IO {
                let message = "a package that does not come from crates.io";
                problems.push(Problem::at(&file.path, number, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, CRATES_IO, check};

    #[test]
    fn a_package_from_elsewhere_is_reported() {
        let text = format!("name = \"a\"\n{CRATES_IO}\nsource = \"git+https://example.org/a\"\n");
        expect![[r#"
            Cargo.lock:3: a package that does not come from crates.io
        "#]]
        .assert_eq(&found(check, &[("Cargo.lock", &text)]));
    }
}
