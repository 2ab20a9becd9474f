//! Every test runs, and says which error it expects.

use crate::{report::Problem, source::Tree};

/// Reports attributes that hide a test, or a wrong reason to pass.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        for (number, line) in file.lines() {
            let line = line.trim_start();
            if line.starts_with("#[ignore") {
                let message = "a test that never runs; repair it or remove it";
                problems.push(Problem::at(&file.path, number, message));
            }
            if line.starts_with("#[should_panic") {
                let message = "any panic passes; assert the error instead";
                problems.push(Problem::at(&file.path, number, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn attributes_that_hide_a_failure_are_reported() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n    #[should_panic]\nfn b() {}\n";
        expect![[r#"
            a.rs:2: a test that never runs; repair it or remove it
            a.rs:4: any panic passes; assert the error instead
        "#]]
        .assert_eq(&found(check, &[("a.rs", text)]));
    }
}
