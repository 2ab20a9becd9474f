//! Three nodes as processes, of which one is killed and comes back.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use shardwright_quorum::log::BoxError;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

/// A process, which ends with this, and where it answers commands.
struct Node {
    process: Child,
    port: String,
}

/// Starts the nodes, and appends while one of them is away.
pub(crate) async fn run() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    // What is free now is free in a moment: nothing else is told of these ports.
    let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
    let addresses: Vec<String> = (0..3)
        .map(|_| Ok(free()?.to_string()))
        .collect::<Result<_, BoxError>>()?;
    let mut nodes = Vec::new();
    for number in 0..3 {
        nodes.push(start(number, &addresses, directory.path()).await?);
    }
    let primary = append(&nodes, "1 1 apples").await?;
    println!(
        "n{} leads, and has appended a line at a majority",
        primary + 1
    );

    let away = (primary + 1) % 3;
    nodes[away].process.kill().await?;
    append(&nodes, "1 2 pears").await?;
    println!(
        "n{} was killed, and the other two have taken another line",
        away + 1
    );

    nodes[away] = start(away, &addresses, directory.path()).await?;
    while !ask(&nodes[away], "local").await?.ends_with(" 2") {
        sleep(Duration::from_millis(50)).await;
    }
    println!("n{} is back, and has both lines", away + 1);
    Ok(())
}

async fn start(number: usize, addresses: &[String], directory: &Path) -> Result<Node, BoxError> {
    let name = |number: usize| format!("n{}", number + 1);
    let peers = addresses.iter().enumerate();
    let peers: Vec<String> = peers
        .map(|(number, at)| format!("{}={at}", name(number)))
        .collect();
    let mut process = Command::new(std::env::current_exe()?)
        .args(["--node", &name(number), "--listen", &addresses[number]])
        .args(["--peers", &peers.join(","), "--port", "127.0.0.1:0"])
        .arg("--registry")
        .arg(directory.join("registry.db"))
        .arg("--dir")
        .arg(directory.join(name(number)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().ok_or("it is piped")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(port) = line.strip_prefix("commands on ") {
            let port = port.to_owned();
            return Ok(Node { process, port });
        }
    }
    Err("a node has ended".into())
}

/// Appends a line at whoever leads, and returns the node.
async fn append(nodes: &[Node], line: &str) -> Result<usize, BoxError> {
    loop {
        for (number, node) in nodes.iter().enumerate() {
            let answer = ask(node, &format!("append quorum {line}")).await;
            if answer.is_ok_and(|answer| answer.starts_with("ok ")) {
                return Ok(number);
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn ask(node: &Node, command: &str) -> Result<String, BoxError> {
    let mut stream = TcpStream::connect(&node.port).await?;
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let answer = BufReader::new(stream).lines().next_line().await?;
    Ok(answer.ok_or("no answer")?)
}
