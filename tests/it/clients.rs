//! The clients of libSQL, as programs use them, against a cluster of three nodes.
//!
//! `cargo xtask test` installs them, and says where. Without that the tests are passed over, unless `CI` is set.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{nodes::cluster::Cluster, processes::process::command};

/// A way to run the programs of a language.
struct Language {
    /// Names the directory with the clients.
    variable: &'static str,
    program: &'static str,
    /// Makes the clients known to the program, which runs in a directory.
    prepare: fn(&mut Command, &Path, &Path),
}

const JAVASCRIPT: Language = Language {
    variable: "SHARDWRIGHT_TEST_NPM",
    program: "node",
    prepare: |_, directory, clients| {
        let modules = clients.join("node_modules");
        std::os::unix::fs::symlink(modules, directory.join("node_modules")).expect("a link");
    },
};

const PYTHON: Language = Language {
    variable: "SHARDWRIGHT_TEST_PYPI",
    program: "python3",
    prepare: |command, _, clients| {
        command.env("PYTHONPATH", clients);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
    },
};

impl Language {
    /// Where the clients are, if they were installed.
    fn clients(&self) -> Option<PathBuf> {
        let found = env::var_os(self.variable).map(PathBuf::from);
        assert!(
            found.is_some() || env::var_os("CI").is_none(),
            "{} is not set: run `cargo xtask test`",
            self.variable
        );
        found
    }

    /// Runs programs, one after the other, against nodes of one cluster. Each says `done` when all is as it has to be.
    #[track_caller]
    fn run(&self, scripts: &[(&str, &str)]) {
        let Some(clients) = self.clients() else {
            return;
        };
        let cluster = Cluster::of_three();
        for (name, script) in scripts {
            let directory = tempfile::tempdir().expect("a temporary directory");
            fs::write(directory.path().join(name), script).expect("a file");
            let mut command = command(self.program);
            command.current_dir(directory.path()).arg(name);
            command.args([cluster.url_of("n1"), cluster.url_of("n2")]);
            command.env("TOKEN", cluster.token());
            for proxy in [
                "http_proxy",
                "https_proxy",
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "ALL_PROXY",
            ] {
                command.env_remove(proxy);
            }
            (self.prepare)(&mut command, directory.path(), &clients);
            let output = command.output().expect("the program runs");
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.ends_with("done\n"),
                "{name}: {said}{errors}"
            );
        }
    }
}

#[test]
fn javascript_clients_work_unmodified() {
    JAVASCRIPT.run(&[
        ("client.mjs", include_str!("clients/client.mjs")),
        ("drizzle.mjs", include_str!("clients/drizzle.mjs")),
    ]);
}

#[test]
fn python_clients_work_unmodified() {
    PYTHON.run(&[
        ("connection.py", include_str!("clients/connection.py")),
        ("orm.py", include_str!("clients/orm.py")),
    ]);
}
