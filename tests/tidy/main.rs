//! The repository's own rules, as tests: import ranks, sizes, words, docs (docs/STYLE is in
//! CONTRIBUTING.md). Plain `std`, so that `cargo test --test tidy` runs in a second.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by rank; a module may import only modules of a lower rank (`src/lib.rs` has the story).
const RANKS: &[&[&str]] = &[
    &["clock", "diagnostic", "digest", "platform"],
    &["event", "failure", "reference", "sys"],
    &["image", "parser", "pattern", "rooted", "tree"],
    &["context", "layer", "lint", "registry", "ui"],
    &["cache"],
    &["planner"],
    &["executor"],
    &["export"],
    &["pipeline"],
    &["cli"],
];

/// Functions longer than 70 lines that are tolerated until touched: file, name. Only ever shrinks.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Words of comments that mark unfinished code.
const UNFINISHED: &[&str] = &["todo", "fixme", "xxx", "hack"];

/// Names of files and modules for code that has no home yet.
const HOMELESS: &[&str] = &["util", "utils", "misc"];

/// Where processes begin that this program starts of itself: their arguments are theirs to read.
const CHILD_ENTRIES: &[&str] = &[
    "src/executor/sandbox/child.rs",
    "src/executor/sandbox/rung/enter.rs",
    "src/executor/sandbox/rung/trial.rs",
];

/// The longest file, tests not counted.
const FILE_LINES_MAX: usize = 700;

/// The longest function.
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<(String, String)> {
    let root = root();
    rust_files(&root.join("src"))
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// What a line says in a comment.
fn comment(line: &str) -> &str {
    let starts = line.match_indices("//").map(|(start, _)| start);
    let mut starts = starts.filter(|start| {
        line[..*start].chars().all(char::is_whitespace) || line[..*start].ends_with(' ')
    });
    starts.next().map_or("", |start| &line[start..])
}

/// The code before the inline test module.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn module_of(file: &str) -> &str {
    let rest = file.strip_prefix("src/").unwrap();
    rest.split('/').next().unwrap().trim_end_matches(".rs")
}

fn rank_of(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/") || name.ends_with("/testing.rs")
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let module = module_of(&name);
        if matches!(module, "lib" | "main" | "testing") {
            continue;
        }
        let rank = rank_of(module).unwrap_or_else(|| panic!("{name}: module has no rank"));
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for rest in line.split("crate::").skip(1) {
                let used: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                match rank_of(&used) {
                    Some(below) if used != module && below >= rank => {
                        wrong.push(format!("{name}:{}: {module} imports {used}", number + 1));
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that point up or sideways:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(name, _)| !is_test_file(name))
        .map(|(name, text)| (without_tests(&text).lines().count(), name))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, name)| format!("{name}: {lines} lines"))
        .collect();
    assert!(
        long.is_empty(),
        "files over {FILE_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for (name, text) in sources() {
        if is_test_file(&name) {
            continue;
        }
        let lines: Vec<&str> = without_tests(&text).lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let Some(function) = function_name(trimmed) else {
                continue;
            };
            // A function of a trait may have no body.
            let head = (start..lines.len()).find(|end| lines[*end].ends_with(['{', '}', ';']));
            if head.is_some_and(|end| lines[end].ends_with(';')) {
                continue;
            }
            let end = (start..lines.len()).find(|end| {
                lines[*end] == format!("{}}}", " ".repeat(indent)) || lines[*end].ends_with("{}")
            });
            let length = end.map_or(0, |end| end - start + 1);
            if length > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.contains(&(&name, function)) {
                long.push(format!(
                    "{name}:{}: `{function}` has {length} lines",
                    start + 1
                ));
            }
        }
    }
    assert!(
        long.is_empty(),
        "functions over {FUNCTION_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for prefix in ["pub ", "pub(crate) ", "pub(super) ", "const ", "unsafe "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[test]
fn every_module_says_why_it_exists() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(
        silent.is_empty(),
        "files without a head comment:\n{}",
        silent.join("\n")
    );
}

#[test]
fn no_word_marks_unfinished_code() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let lower = comment(line).to_lowercase();
            let mut words = lower.split(|c: char| !c.is_alphanumeric());
            if words.any(|word| UNFINISHED.contains(&word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "comments on unfinished code:\n{}",
        found.join("\n")
    );
}

#[test]
fn all_code_has_a_home() {
    let found: Vec<String> = sources()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            let mut parts = name.split(['/', '.']);
            parts.any(|part| HOMELESS.contains(&part))
        })
        .collect();
    assert!(found.is_empty(), "names that say nothing: {found:?}");
}

#[test]
fn unsafe_stays_in_sys() {
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("src/sys/"))
        .filter(|(_, text)| {
            text.lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {"))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(
        found.is_empty(),
        "unsafe outside src/sys:\n{}",
        found.join("\n")
    );
}

#[test]
fn only_cli_reads_the_environment_and_prints() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let module = module_of(&name);
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            let reads = line.contains("env::var")
                || line.contains("env::args") && !CHILD_ENTRIES.contains(&name.as_str());
            let prints = line.contains("println!(") || line.contains("print!(");
            if (reads && !matches!(module, "cli" | "main"))
                || (prints && !matches!(module, "cli" | "ui" | "testing"))
            {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "environment or output outside cli and ui:\n{}",
        found.join("\n")
    );
}

#[test]
fn pure_rooms_do_no_io() {
    const PURE: &[&str] = &[
        "digest",
        "diagnostic",
        "platform",
        "parser",
        "lint",
        "image",
        "tree",
        "pattern",
        "planner",
    ];
    let mut found = Vec::new();
    for (name, text) in sources() {
        if !PURE.contains(&module_of(&name)) || is_test_file(&name) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            // An address is a number; only sockets are I/O.
            let line = line.replace("std::net::IpAddr", "");
            if ["std::fs", "std::net", "std::process", "rustix::", "nix::"]
                .iter()
                .any(|word| line.contains(word) && !line.trim_start().starts_with("//"))
            {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "I/O in a pure room:\n{}",
        found.join("\n")
    );
}

#[test]
fn architecture_names_every_room() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing: Vec<&&str> = RANKS
        .iter()
        .flat_map(|modules| modules.iter())
        .filter(|module| !architecture.contains(&format!("`{module}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not mention {missing:?}"
    );
}

#[test]
fn every_test_file_is_named_in_its_runner() {
    let mut forgotten = Vec::new();
    for directory in ["build", "cli", "registry"] {
        let folder = root().join("tests").join(directory);
        let runner = fs::read_to_string(folder.join("main.rs")).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let is_module = path.is_dir() || path.extension().is_some_and(|e| e == "rs");
            if is_module && stem != "main" && !runner.contains(&format!("mod {stem};")) {
                forgotten.push(path);
            }
        }
    }
    assert!(forgotten.is_empty(), "tests that never run: {forgotten:?}");
}

/// Lines of a table of `Cargo.toml` whose name ends in `dependencies`: the crate's name, and whether
/// a comment says what it is for (one may speak of several).
fn dependencies() -> Vec<(String, bool)> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (mut found, mut inside, mut explained) = (Vec::new(), false, false);
    for line in manifest.lines() {
        if line.starts_with('[') {
            // The one crate of a table may be explained above it.
            inside = line.ends_with("dependencies]");
            explained = explained && line.starts_with("[target");
        } else if line.starts_with('#') {
            explained = true;
        } else if line.is_empty() {
            explained = false;
        } else if let (true, Some((name, _))) = (inside, line.split_once(" = ")) {
            found.push((name.to_owned(), explained));
        }
    }
    found
}

#[test]
fn every_dependency_has_a_reason_and_is_used() {
    let mut code = String::new();
    for directory in ["benches", "src", "tests"] {
        for path in rust_files(&root().join(directory)) {
            code += &fs::read_to_string(path).unwrap();
        }
    }
    let is_used = |name: &str| {
        let path = format!("{}::", name.replace('-', "_"));
        let mut uses = code.match_indices(&path).map(|(at, _)| at);
        let is_path = |at: usize| {
            let before = code[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':' | '`'))
        };
        uses.any(is_path)
    };
    let dependencies = dependencies();
    assert!(dependencies.len() > 20, "the tables were not read");
    let wrong: Vec<&(String, bool)> = dependencies
        .iter()
        .filter(|(name, explained)| !explained || !is_used(name))
        .collect();
    assert!(wrong.is_empty(), "unexplained or unused: {wrong:?}");
}

/// Markdown files of the repository, without those of tests.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap_or_default();
            if path.is_dir() && !matches!(name, "target" | ".git" | "testdata") {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn links_of_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', ' ', '#']).next().unwrap_or_default();
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
            let place = page.parent().unwrap().join(target);
            if !target.is_empty() && !is_elsewhere && !place.exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// The paths of this repository that a text names in back quotes or in brackets: what begins like
/// one of its directories, up to the first character that no path of ours has.
fn named_paths(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for directory in ["src/", "docs/", "tests/", "scripts/", "bench/", "grammar/"] {
        for (at, _) in text.match_indices(directory) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')) {
                continue;
            }
            let is_path = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
            let end = text[at..].find(|c| !is_path(c)).unwrap_or(text.len() - at);
            // `src/{a,b}` and `src/*` are patterns.
            if !text[at + end..].starts_with(['{', '*', '<']) {
                found.push(text[at..at + end].trim_end_matches(['.', '/']));
            }
        }
    }
    found
}

#[test]
fn files_that_pages_and_comments_name_exist() {
    let root = root();
    let mut texts: Vec<(String, String)> = sources();
    texts.retain(|(name, _)| !is_test_file(name));
    for (_, text) in &mut texts {
        *text = without_tests(text)
            .lines()
            .map(comment)
            .collect::<Vec<_>>()
            .join("\n");
    }
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        texts.push((page.display().to_string(), text));
    }
    texts.push((
        "Cargo.toml".to_owned(),
        fs::read_to_string(root.join("Cargo.toml")).unwrap(),
    ));
    let mut gone = Vec::new();
    for (name, text) in &texts {
        for path in named_paths(text) {
            if !root.join(path).exists() && !root.join(format!("{path}.rs")).exists() {
                gone.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(
        gone.is_empty(),
        "named, but not there:\n{}",
        gone.join("\n")
    );
}

#[test]
fn nothing_names_a_workplace() {
    // Split so that this file does not name them either.
    let banned = [
        ["/", "work/"].concat(),
        [".lib", "rary"].concat(),
        ["farm", "-"].concat(),
    ];
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap_or_default()
                .to_owned();
            if matches!(name.as_str(), "target" | ".git" | "corpus") {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            if banned.iter().any(|word| text.contains(word.as_str())) {
                found.push(path);
            }
        }
    }
    assert!(
        found.is_empty(),
        "files that name a place of ours: {found:?}"
    );
}
