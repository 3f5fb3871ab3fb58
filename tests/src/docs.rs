//! Runs the examples of a page of the documentation, so that they stay true.
//!
//! An HTML comment right above a fenced block says what the block is for, as
//! in README.md:
//!
//! | comment | the block |
//! |---|---|
//! | `gateway` | a configuration: a gateway starts with it, in place of the one before. A page without one has a gateway without configuration. It is also the file `push.yaml` |
//! | `run` | in `sh`: run by `bash`, to its end; variables and functions stay for the blocks after it. In `js`: run by Node.js, beside the blocks after it until the page ends; `WebSocket` is there as in a browser |
//! | `run: as NAME` | the same, with a name |
//! | `output` | what the last run block prints, line by line; `…` stands for anything |
//! | `output: of NAME` | what the block of that name prints next |
//!
//! Other blocks are only read. Addresses stand in a page as they are by
//! default (`127.0.0.1:8080`, `:8081`, `:9090`); what runs has those of the
//! gateway that is there.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use tokio::io::AsyncBufReadExt as _;

use crate::Gateway;
use crate::gateway::{binary, scratch};
use crate::patience::PATIENCE;

/// One fenced block.
#[derive(Clone, Debug)]
struct Block {
    /// Line of the page, counted from 1.
    line: usize,
    language: String,
    kind: Kind,
    /// Its own, or of the block whose output it is.
    name: Option<String>,
    text: String,
}

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Gateway,
    Run,
    Output,
}

/// A page whose blocks are being run.
struct Run {
    folder: PathBuf,
    gateway: Option<Gateway>,
    shell: Child,
    commands: ChildStdin,
    ended: tokio::io::Lines<tokio::io::BufReader<tokio::net::unix::pipe::Receiver>>,
    /// Lines of each block's output that were compared, by the block's name.
    compared: HashMap<String, usize>,
    /// Blocks that print no more.
    over: Vec<String>,
    last: Option<String>,
}

/// Runs a page's blocks in their order. An error says which block, and what
/// it printed.
pub async fn run(page: &str) -> Result<(), String> {
    let blocks = parse(page)?;
    let mut run = Run::start();
    for block in &blocks {
        run.step(block).await.map_err(|why| format!("line {}: {why}", block.line))?;
    }
    run.finish()
}

/// Whether a page has a block that is run.
pub fn has_runnable(page: &str) -> bool {
    parse(page).is_ok_and(|blocks| blocks.iter().any(|block| block.kind == Kind::Run))
}

fn parse(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut above = "";
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(language)) => {
                let (kind, name) = kind_of(above);
                open = Some(Block {
                    line: index + 1,
                    language: language.to_owned(),
                    kind,
                    name: name.map(str::to_owned),
                    text: String::new(),
                });
            }
            (None, None) => {}
        }
        above = line;
    }
    match open {
        Some(block) => Err(format!("line {}: the block has no end", block.line)),
        None => Ok(blocks),
    }
}

/// What the line above a block says.
fn kind_of(line: &str) -> (Kind, Option<&str>) {
    let comment = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    match comment.unwrap_or_default().split_once(": ") {
        None if comment == Some("gateway") => (Kind::Gateway, None),
        None if comment == Some("run") => (Kind::Run, None),
        None if comment == Some("output") => (Kind::Output, None),
        Some(("run", rest)) => (Kind::Run, rest.strip_prefix("as ")),
        Some(("output", rest)) => (Kind::Output, rest.strip_prefix("of ")),
        _ => (Kind::Read, None),
    }
}

// === impl Run ===

impl Run {
    fn start() -> Self {
        let folder = scratch("page");
        std::fs::create_dir_all(folder.join("bin")).expect("the scratch folder is writable");
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules");
        std::os::unix::fs::symlink(modules, folder.join("node_modules")).expect("a new link");
        // Node.js has had it since version 22.
        let shim = "import { WebSocket } from \"ws\";\nglobalThis.WebSocket ??= WebSocket;\n";
        std::fs::write(folder.join("bin/browser.mjs"), shim)
            .expect("the scratch folder is writable");
        let (sender, receiver) = tokio::net::unix::pipe::pipe().expect("a pipe can be had");
        let mut shell = Command::new("bash")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(sender.into_blocking_fd().expect("the pipe's end"))
            .stderr(Stdio::inherit())
            // Its children end with it.
            .process_group(0)
            .spawn()
            .expect("bash is there");
        let commands = shell.stdin.take().expect("it was asked for");
        let ended = tokio::io::BufReader::new(receiver).lines();
        let compared = HashMap::new();
        let (gateway, over, last) = (None, Vec::new(), None);
        let mut run = Self { folder, gateway, shell, commands, ended, compared, over, last };
        run.tell("set -eu -o pipefail; PATH=$PWD/bin:$PATH");
        run
    }

    fn tell(&mut self, command: &str) {
        // A shell that is gone shows itself by what it doesn't answer.
        let _ = writeln!(self.commands, "{command}");
    }

    async fn step(&mut self, block: &Block) -> Result<(), String> {
        match block.kind {
            Kind::Read => Ok(()),
            Kind::Gateway => self.serve(&block.text),
            Kind::Run => {
                if self.gateway.is_none() {
                    self.serve("{}")?;
                }
                self.execute(block).await
            }
            Kind::Output => {
                let name = block.name.clone().or_else(|| self.last.clone());
                let name = name.ok_or("there is no run block before this output")?;
                self.compare(&name, &block.text).await
            }
        }
    }

    fn serve(&mut self, config: &str) -> Result<(), String> {
        self.gateway = None;
        let gateway = Gateway::try_start(config)?;
        std::fs::write(self.folder.join("push.yaml"), config).map_err(|e| e.to_string())?;
        // The command line's own defaults are not where this gateway is.
        let script = format!(
            "#!/bin/sh\ncommand=$1\ncase $command in\n\
             publish) shift; set -- publish --api-url {} \"$@\" ;;\n\
             subscribe) shift; set -- subscribe --url {}/ws \"$@\" ;;\n\
             esac\nexec {} \"$@\"\n",
            gateway.api(),
            gateway.client_ws(),
            binary().display()
        );
        let command = self.folder.join("bin/push-gateway");
        std::fs::write(&command, script).map_err(|error| error.to_string())?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&command, mode).map_err(|error| error.to_string())?;
        self.gateway = Some(gateway);
        Ok(())
    }

    async fn execute(&mut self, block: &Block) -> Result<(), String> {
        let name = block.name.clone().unwrap_or_else(|| format!("block-{}", block.line));
        let text = self
            .addresses()
            .iter()
            .fold(block.text.clone(), |text, (written, actual)| text.replace(written, actual));
        self.last = Some(name.clone());
        let write = |file: &str| std::fs::write(self.folder.join(file), &text);
        match &*block.language {
            "sh" | "bash" => {
                write(&format!("{name}.sh")).map_err(|error| error.to_string())?;
                self.tell(&format!(". ./{name}.sh >{name}.out 2>&1 </dev/null; echo ended"));
                let ended = tokio::time::timeout(PATIENCE, self.ended.next_line()).await;
                match ended {
                    Ok(Ok(Some(_))) => {
                        // One that leaves something running may print more.
                        if !text.lines().any(|line| line.trim_end().ends_with('&')) {
                            self.over.push(name);
                        }
                        Ok(())
                    }
                    Ok(_) => Err(format!("a command failed. It printed:\n{}", self.output(&name))),
                    Err(_) => Err(format!("it does not end. It printed:\n{}", self.output(&name))),
                }
            }
            "js" => {
                write(&format!("{name}.mjs")).map_err(|error| error.to_string())?;
                self.tell(&format!(
                    "node --import ./bin/browser.mjs {name}.mjs >{name}.out 2>&1 </dev/null &"
                ));
                Ok(())
            }
            other => Err(format!("a block in `{other}` can't be run; `sh` and `js` can")),
        }
    }

    /// Waits until a block has printed these lines.
    async fn compare(&mut self, name: &str, expected: &str) -> Result<(), String> {
        let from = self.compared.get(name).copied().unwrap_or_default();
        let expected: Vec<&str> = expected.lines().collect();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let output = self.output(name);
            let printed: Vec<&str> = output.lines().skip(from).take(expected.len()).collect();
            let same = printed.len() == expected.len()
                && expected.iter().zip(&printed).all(|(pattern, line)| matches(pattern, line));
            if same {
                self.compared.insert(name.to_owned(), from + expected.len());
                return Ok(());
            }
            if self.over.iter().any(|over| over == name) || tokio::time::Instant::now() >= until {
                let words = "the page says\n";
                return Err(format!("{words}{}\nbut it printed\n{output}", expected.join("\n")));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// What a block has printed, with addresses as pages write them.
    fn output(&self, name: &str) -> String {
        let file = self.folder.join(format!("{name}.out"));
        let output = std::fs::read(file).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        self.addresses()
            .iter()
            .fold(output, |output, (written, actual)| output.replace(actual, written))
    }

    /// Addresses as pages write them, and as they are.
    fn addresses(&self) -> Vec<(&'static str, String)> {
        let Some(gateway) = &self.gateway else { return Vec::new() };
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        vec![
            ("127.0.0.1:8080", address(gateway.client())),
            ("127.0.0.1:8081", address(gateway.api())),
            ("127.0.0.1:9090", address(gateway.admin())),
        ]
    }

    /// Where a page shows the output of something that has ended, it shows all
    /// of it.
    fn finish(self) -> Result<(), String> {
        for (name, lines) in self.compared.iter().filter(|(name, _)| self.over.contains(name)) {
            let output = self.output(name);
            if output.lines().count() > *lines {
                return Err(format!(
                    "the page shows {lines} lines of {name}; it printed\n{output}"
                ));
            }
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.shell.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether a line is as a page writes it; `…` stands for anything. The order
/// of keys in a JSON object at its end doesn't count.
fn matches(pattern: &str, line: &str) -> bool {
    let json = |text: &str| {
        let start = text.find('{')?;
        Some((text[..start].to_owned(), serde_json::from_str::<Value>(&text[start..]).ok()?))
    };
    match (json(pattern), json(line)) {
        (Some((before, pattern)), Some((found, value))) => {
            matches_text(&before, &found) && matches_value(&pattern, &value)
        }
        _ => matches_text(pattern, line),
    }
}

fn matches_value(pattern: &Value, value: &Value) -> bool {
    match (pattern, value) {
        (Value::String(pattern), Value::String(text)) => matches_text(pattern, text),
        (Value::Array(patterns), Value::Array(values)) => {
            patterns.len() == values.len()
                && patterns.iter().zip(values).all(|(pattern, value)| matches_value(pattern, value))
        }
        (Value::Object(patterns), Value::Object(values)) => {
            let same = |(key, pattern): (&String, &Value)| {
                values.get(key).is_some_and(|value| matches_value(pattern, value))
            };
            patterns.len() == values.len() && patterns.iter().all(same)
        }
        _ => pattern == value,
    }
}

fn matches_text(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
