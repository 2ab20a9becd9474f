//! Files stay short: one idea each.

use crate::{report::Problem, source::Tree};

/// Lines of a Rust file that are not tests.
const LINES_MAX: usize = 500;

/// Lines of an example under `examples/`.
const EXAMPLE_LINES_MAX: usize = 100;

/// Files that may be longer, and how long. An entry only ever shrinks, and goes when its file is
/// within the limit.
const RATCHET: &[(&str, usize)] = &[];

/// Reports Rust files that are longer than they may be, and entries of the ratchet to tighten.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    check_against(RATCHET, tree, problems);
}

fn check_against(ratchet: &[(&str, usize)], tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let path = file.path.as_str();
        let length = file.code_length();
        let granted = ratchet
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, lines)| *lines);
        let limit = granted.unwrap_or(LINES_MAX);
        if length > limit {
            let message =
                format!("{length} lines; split it by a state or a rule to {limit} at most");
            problems.push(Problem::of(path, message));
        }
        if granted.is_some_and(|granted| length < granted) {
            let message = format!("has shrunk to {length} lines; lower its entry in the ratchet");
            problems.push(Problem::of(path, message));
        }
        if path.contains("/examples/") && length > EXAMPLE_LINES_MAX {
            let message =
                format!("{length} lines; an example shows one idea in {EXAMPLE_LINES_MAX}");
            problems.push(Problem::of(path, message));
        }
    }
    for (path, _) in ratchet
        .iter()
        .filter(|(path, _)| !tree.paths.contains(*path))
    {
        problems.push(Problem::of(
            path,
            "does not exist; remove its entry from the ratchet",
        ));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{report, tidy::found};

    fn text(code: usize, tests: usize) -> String {
        let body = "x\n".repeat(tests);
        format!(
            "{}#[cfg(test)]\nmod tests {{\n{body}}}\n",
            "x\n".repeat(code)
        )
    }

    #[test]
    fn a_long_file_is_reported_and_its_tests_do_not_count() {
        let (long, short) = (text(501, 0), text(500, 900));
        let example = text(101, 0);
        let files = [
            ("a.rs", long.as_str()),
            ("b.rs", &short),
            ("c/tests.rs", &long),
        ];
        expect![[r#"
            a.rs: 501 lines; split it by a state or a rule to 500 at most
        "#]]
        .assert_eq(&found(check, &files));
        expect![[r#"
            x/examples/e.rs: 101 lines; an example shows one idea in 100
        "#]]
        .assert_eq(&found(check, &[("x/examples/e.rs", &example)]));
    }

    #[test]
    fn the_ratchet_only_tightens() {
        let ratchet = [
            ("grown.rs", 600),
            ("shrunk.rs", 600),
            ("same.rs", 600),
            ("gone.rs", 600),
        ];
        let (grown, shrunk, same) = (text(601, 0), text(599, 0), text(600, 0));
        let tree = Tree::of(&[
            ("grown.rs", &grown),
            ("shrunk.rs", &shrunk),
            ("same.rs", &same),
        ]);
        let mut problems = Vec::new();
        check_against(&ratchet, &tree, &mut problems);
        expect![[r#"
            gone.rs: does not exist; remove its entry from the ratchet
            grown.rs: 601 lines; split it by a state or a rule to 600 at most
            shrunk.rs: has shrunk to 599 lines; lower its entry in the ratchet
        "#]]
        .assert_eq(&report::lines(problems));
    }
}
