//! The table of layers, and the manifests against it.

use crate::{
    report::Problem,
    workspace::{Dependency, DependencyKind, Package},
};

/// What one crate may know.
#[derive(Debug)]
struct Row {
    name: &'static str,
    may_use: &'static [&'static str],
}

/// What every crate of the second layer may know: never one another.
const BELOW_L2: &[&str] = &["hashing", "topology", "registry", "http"];

/// Every library below the servers.
const BELOW_L4: &[&str] = &[
    "hashing",
    "topology",
    "registry",
    "http",
    "router",
    "quorum",
    "failover",
    "rebalancer",
    "elastic",
    "store",
    "sql",
    "coordinator",
];

/// Every library that the facade names.
const BELOW_FACADE: &[&str] = &[
    "hashing",
    "topology",
    "registry",
    "http",
    "router",
    "quorum",
    "failover",
    "rebalancer",
    "elastic",
    "store",
    "sql",
    "coordinator",
    "server",
];

const ROWS: &[Row] = &[
    Row {
        name: "hashing",
        may_use: &[],
    },
    Row {
        name: "topology",
        may_use: &["hashing"],
    },
    Row {
        name: "registry",
        may_use: &["hashing", "topology"],
    },
    Row {
        name: "http",
        may_use: &["hashing"],
    },
    Row {
        name: "router",
        may_use: BELOW_L2,
    },
    Row {
        name: "quorum",
        may_use: BELOW_L2,
    },
    Row {
        name: "failover",
        may_use: BELOW_L2,
    },
    Row {
        name: "rebalancer",
        may_use: BELOW_L2,
    },
    Row {
        name: "elastic",
        may_use: BELOW_L2,
    },
    Row {
        name: "store",
        may_use: BELOW_L2,
    },
    Row {
        name: "sql",
        may_use: &[
            "hashing", "topology", "registry", "router", "store", "elastic",
        ],
    },
    Row {
        name: "coordinator",
        may_use: &[
            "hashing",
            "topology",
            "registry",
            "http",
            "router",
            "quorum",
            "failover",
            "rebalancer",
            "elastic",
        ],
    },
    Row {
        name: "server",
        may_use: BELOW_L4,
    },
    Row {
        name: "cli",
        may_use: BELOW_FACADE,
    },
    Row {
        name: "shardwright",
        may_use: BELOW_FACADE,
    },
    Row {
        name: "testkit",
        may_use: BELOW_L4,
    },
];

/// Members that no crate may depend on, and that may depend on everything.
const TOOLS: [&str; 6] = ["tests", "benches", "compare", "model", "sim", "xtask"];

/// Crates outside the workspace that the pure layer must not know: no I/O, no clock, no async.
const IMPURE: [&str; 5] = ["tokio", "rusqlite", "async-nats", "reqwest", "axum"];

/// The crates without I/O.
const PURE: [&str; 2] = ["hashing", "topology"];

/// Reports dependencies that the table does not allow, and crates that it does not name.
pub(super) fn check(packages: &[Package], problems: &mut Vec<Problem>) {
    for package in packages {
        let name = short(&package.name);
        if TOOLS.contains(&name) {
            continue;
        }
        let path = format!("crates/{name}/Cargo.toml");
        let Some(row) = ROWS.iter().find(|row| row.name == name) else {
            problems.push(Problem::of(&path, "has no row in the table of layers"));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some(message) = refusal(row, dependency) {
                problems.push(Problem::of(&path, message));
            }
        }
    }
}

/// Why the crate of `row` must not have `dependency`.
fn refusal(row: &Row, dependency: &Dependency) -> Option<String> {
    let other = short(&dependency.name);
    let for_tests = dependency.kind == DependencyKind::Dev;
    if !dependency.local {
        let impure = PURE.contains(&row.name) && IMPURE.contains(&other) && !for_tests;
        return impure.then(|| format!("{} does no I/O, so it must not use {other}", row.name));
    }
    match other {
        name if row.may_use.contains(&name) => None,
        "testkit" if for_tests => None,
        "testkit" => Some(format!(
            "{} may use testkit as a dev-dependency only",
            row.name
        )),
        name => Some(format!("{} must not know {name}", row.name)),
    }
}

/// The name of a package without the prefix that all share.
fn short(name: &str) -> &str {
    name.strip_prefix("shardwright-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use expect_test::expect;

    use super::*;
    use crate::report;

    fn dependency(name: &str, kind: DependencyKind) -> Dependency {
        Dependency {
            name: name.to_owned(),
            requirement: "*".to_owned(),
            features: Vec::new(),
            kind,
            local: name.starts_with("shardwright"),
        }
    }

    fn package(name: &str, dependencies: Vec<Dependency>) -> Package {
        Package {
            name: name.to_owned(),
            directory: PathBuf::new(),
            published: true,
            dependencies,
            features: Vec::new(),
            examples: Vec::new(),
            lib_target: None,
        }
    }

    #[test]
    fn crates_know_only_the_layers_below_them() {
        use DependencyKind::{Dev, Normal};
        let packages = [
            package(
                "shardwright-store",
                vec![dependency("shardwright-registry", Normal)],
            ),
            package(
                "shardwright-router",
                vec![dependency("shardwright-store", Normal)],
            ),
            package("shardwright-hashing", vec![dependency("tokio", Normal)]),
            package("shardwright-topology", vec![dependency("tokio", Dev)]),
            package(
                "shardwright-sql",
                vec![dependency("shardwright-testkit", Normal)],
            ),
            package(
                "shardwright-cli",
                vec![dependency("shardwright-testkit", Dev)],
            ),
            package(
                "shardwright-registry",
                vec![dependency("shardwright-sql", Dev)],
            ),
            package("shardwright-novel", vec![]),
            package(
                "shardwright-tests",
                vec![dependency("shardwright-cli", Normal)],
            ),
        ];
        let mut problems = Vec::new();
        check(&packages, &mut problems);
        expect![[r#"
            crates/hashing/Cargo.toml: hashing does no I/O, so it must not use tokio
            crates/novel/Cargo.toml: has no row in the table of layers
            crates/registry/Cargo.toml: registry must not know sql
            crates/router/Cargo.toml: router must not know store
            crates/sql/Cargo.toml: sql may use testkit as a dev-dependency only
        "#]]
        .assert_eq(&report::lines(problems));
    }

    #[test]
    fn a_row_names_only_rows_above_it() {
        for (index, row) in ROWS.iter().enumerate() {
            for name in row.may_use {
                let position = ROWS.iter().position(|other| other.name == *name);
                assert!(
                    position.is_some_and(|position| position < index),
                    "{} uses {name}",
                    row.name
                );
            }
        }
    }
}
