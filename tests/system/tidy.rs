//! The house stays tidy: how files open, which way arrows point, what may lie in the root.
//! Budgets are warnings: a number is a reason to look, not a verdict.

use std::path::{Path, PathBuf};

use crate::server::root;

/// Crates in the order of the arrows: each may use those before it.
const ROOMS: [&str; 6] = ["tsdb", "query", "management", "ingest", "wire", "tools"];
/// What may lie in the root beside dotfiles and what git ignores.
const ROOT: [&str; 15] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "tsdb",
    "query",
    "management",
    "ingest",
    "wire",
    "tools",
    "tests",
    "benches",
    "target",
    "millrace-data",
];
const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const LINE_COLUMNS: usize = 100;

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for room in ROOMS.iter().chain(&["tests", "benches"]) {
        collect(&root().join(room), &mut files);
    }
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "node_modules" {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "these do not open with `//!`: {silent:?}");
}

#[test]
fn no_file_is_named_mod() {
    let named: Vec<PathBuf> = sources().into_iter().filter(|p| p.ends_with("mod.rs")).collect();
    assert!(named.is_empty(), "`foo.rs` beside `foo/` instead: {named:?}");
}

#[test]
fn budgets_are_warned_of() {
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().display();
        let lines = text.lines().count();
        if lines > FILE_LINES {
            println!("warning: {shown} has {lines} lines");
        }
        for (at, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS {
                println!("warning: {shown}:{} has {columns} columns", at + 1);
            }
        }
        for (at, name, length) in long_functions(&text) {
            println!("warning: {shown}:{at} {name} has {length} lines");
        }
    }
}

/// Line, name and length of functions over the budget. A function ends where its closing brace
/// stands as far left as its first line: formatted sources are that regular.
fn long_functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((before, after)) = code.split_once("fn ") else { continue };
        let is_head = before.split_whitespace().all(|word| {
            word.starts_with("pub")
                || matches!(word, "async" | "const" | "unsafe" | "in" | "extern")
        });
        if !is_head || code.ends_with(';') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let length = lines[at..].iter().position(|line| *line == end).map_or(1, |count| count + 1);
        if length > FUNCTION_LINES {
            let name = after.split(['(', '<']).next().unwrap_or(after).to_owned();
            long.push((at + 1, name, length));
        }
    }
    long
}

#[test]
fn long_functions_are_found() {
    let text = format!("impl A {{\n    pub fn long(&self) {{\n{}    }}\n}}\n", "x;\n".repeat(80));
    assert_eq!(long_functions(&text), [(2, "long".to_owned(), 82)]);
}

#[test]
fn arrows_between_crates_go_one_way() {
    for (at, room) in ROOMS.iter().enumerate() {
        let used = dependencies(&root().join(room).join("Cargo.toml"));
        for other in &ROOMS[at..] {
            assert!(!used.contains(&(*other).to_owned()), "{room} must not use {other}");
        }
        if *room == "tsdb" {
            for banned in ["datafusion", "arrow", "tokio", "sqlparser"] {
                let found = used.iter().any(|name| name.starts_with(banned));
                assert!(!found, "tsdb must not use {banned}");
            }
        }
    }
}

/// Names in the `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    text.lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .filter_map(|line| {
            let name = line.split(['.', '=', ' ']).next()?.trim();
            (!name.is_empty() && !name.starts_with('#')).then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn the_root_is_tidy() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let known =
            name.starts_with('.') || ROOT.contains(&name.as_str()) || name.ends_with(".tmp");
        assert!(known, "{name} has no place in the root");
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 110, "the README of the root is a door, not a hall");
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for target in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if !target.contains("://") && !target.starts_with('#') {
            assert!(root().join(target).exists(), "{target} is not there");
        }
    }
}
