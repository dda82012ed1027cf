//! What can be done, and by which name in each language: the table `tests/verbs.csv`. A cell is a name, which has to exist, or
//! `- ` and the reason why there is none. A new verb of `sketchfind index` has to stand in it.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::Path;

use sketchfind_tests::programs::{program, run, succeed};
use sketchfind_tests::surroundings::checkout;

/// The part of `text` from the line that `begins` to the first after it that `ends`.
fn block(
    text: &str,
    begins: impl Fn(&str) -> bool,
    ends: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &str> {
    let lines = text.lines().skip_while(move |line| !begins(line));
    let mut is_first = true;
    lines.take_while(move |line| std::mem::take(&mut is_first) || !ends(line))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `line` has `word`, and not as a part of another.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_word)
            && !line[at + word.len()..].chars().next().is_some_and(is_word)
    })
}

/// The sources of a folder, one after another.
fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            texts.push(read_to_string(&path).unwrap());
        }
    }
}

/// `command words --option`: the program knows the command, and the command the option.
fn is_command(cell: &str) -> bool {
    let (options, words): (Vec<&str>, Vec<&str>) = cell.split(' ').partition(|word| word.starts_with("--"));
    let help = run(program("sketchfind").args(&words).arg("--help"));
    help.code == Some(0) && options.iter().all(|option| help.out.lines().any(|line| has_option(line, option)))
}

fn has_option(line: &str, option: &str) -> bool {
    line.split([' ', ',']).any(|word| word == option)
}

/// `Type::function`, `Type.field` or a function of the library.
fn is_rust(cell: &str, texts: &[String]) -> bool {
    let is_public = |line: &str, name: &str| {
        let rest = line.strip_prefix("pub fn ").and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| !rest.starts_with(is_word))
    };
    let ends = |line: &str| line == "}";
    if let Some((owner, name)) = cell.split_once("::") {
        let begins = |line: &str| line.starts_with("impl") && line.ends_with('{') && has_word(line, owner);
        return texts.iter().any(|text| {
            // A type has several blocks in a file.
            let starts = text.match_indices("\nimpl").map(|(at, _)| &text[at + 1..]);
            starts.filter(|rest| rest.lines().next().is_some_and(begins)).any(|rest| {
                block(rest, |_| true, ends)
                    .any(|line| line.strip_prefix("    ").is_some_and(|line| is_public(line, name)))
            })
        });
    }
    if let Some((owner, name)) = cell.split_once('.') {
        let begins = |line: &str| line.starts_with("pub struct") && has_word(line, owner);
        let field = format!("pub {name}:");
        return texts
            .iter()
            .any(|text| block(text, begins, ends).any(|line| line.trim().starts_with(&field)));
    }
    texts.iter().any(|text| text.lines().any(|line| is_public(line, cell)))
}

/// `Class.method`, `Class.field` or a function, in the stub and the classes of values.
fn is_python(cell: &str, stub: &str) -> bool {
    let defines = |line: &str, name: &str, indent: &str| {
        let is_field = !indent.is_empty() && line.starts_with(&format!("{indent}{name}: "));
        is_field || line.starts_with(&format!("{indent}def {name}("))
    };
    match cell.split_once('.') {
        None => stub.lines().any(|line| defines(line, cell, "")),
        Some((class, name)) => {
            let begins = |line: &str| line.starts_with("class ") && has_word(line, class);
            let ends = |line: &str| !line.is_empty() && !line.starts_with([' ', '#', '@']);
            block(stub, begins, ends).any(|line| defines(line, name, "    "))
        }
    }
}

/// `function` or `struct.field`, in the header.
fn is_c(cell: &str, header: &str) -> bool {
    match cell.split_once('.') {
        None => header.lines().any(|line| {
            !line.trim_start().starts_with(['*', '/'])
                && has_word(line, cell)
                && line.contains(&format!("{cell}("))
        }),
        Some((owner, name)) => {
            let begins =
                |line: &str| line.contains("struct ") && has_word(line, owner) && line.ends_with('{');
            let is_field = |line: &str| line.ends_with(';') && has_word(line, name);
            block(header, begins, |line| line.starts_with('}')).any(is_field)
        }
    }
}

/// `METHOD /path?parameter`, in the description of the interface.
fn is_http(cell: &str, openapi: &serde_json::Value) -> bool {
    let Some((method, path)) = cell.split_once(' ') else { return false };
    let (path, parameter) = path.split_once('?').map_or((path, None), |(path, name)| (path, Some(name)));
    let operation = &openapi["paths"][path][method.to_lowercase()];
    let parameters = || operation["parameters"].as_array().into_iter().flatten();
    operation.is_object()
        && parameter.is_none_or(|name| parameters().any(|parameter| parameter["name"] == *name))
}

#[test]
fn each_verb_has_its_name_in_each_language() {
    let root = checkout();
    let mut texts = Vec::new();
    sources(&root.join("runtime/src"), &mut texts);
    let stub = ["__init__.pyi", "_values.py"]
        .map(|file| read_to_string(root.join("python/sketchfind").join(file)).unwrap())
        .join("\n");
    let header = read_to_string(root.join("c/include/sketchfind.h")).unwrap();
    let openapi = read_to_string(root.join("docs/openapi.json")).unwrap();
    let openapi: serde_json::Value = serde_json::from_str(&openapi).unwrap();
    let exists = |language: &str, cell: &str| match language {
        "cli" => is_command(cell),
        "rust" => is_rust(cell, &texts),
        "python" => is_python(cell, &stub),
        "c" => is_c(cell, &header),
        "http" => is_http(cell, &openapi),
        other => panic!("the language '{other}' is not known"),
    };
    // What the checks cannot tell they would pass.
    for (language, cell) in [
        ("cli", "index lost"),
        ("cli", "query --efs"),
        ("rust", "Gallery::copied"),
        ("rust", "Gallery::query"),
        ("rust", "Match.label"),
        ("rust", "verified"),
        ("python", "Retriever.verify"),
        ("python", "Match.query"),
        ("c", "skf_clos"),
        ("c", "skf_match.pat"),
        ("http", "POST /api/v1/gallery"),
        ("http", "POST /api/v1/query?ids"),
    ] {
        assert!(!exists(language, cell), "{language} has no '{cell}'");
    }

    let mut table = csv::Reader::from_path(root.join("tests/verbs.csv")).unwrap();
    let languages: Vec<String> = table.headers().unwrap().iter().skip(1).map(str::to_owned).collect();
    let (mut verbs, mut commands, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for record in table.records() {
        let record = record.unwrap();
        let verb = record[0].to_owned();
        for (language, cell) in languages.iter().zip(record.iter().skip(1)) {
            match cell.strip_prefix("- ") {
                Some(reason) if !reason.trim().is_empty() => {}
                Some(_) => wrong.push(format!("{verb}, {language}: no reason is given")),
                None if exists(language, cell) => {}
                None => wrong.push(format!("{verb}, {language}: there is no '{cell}'")),
            }
        }
        commands.insert(record[1].split(" --").next().unwrap().to_owned());
        assert!(verbs.insert(verb.clone()), "the verb '{verb}' stands twice");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let help = succeed(program("sketchfind").args(["index", "--help"]));
    let listed = block(&help, |line| line == "Commands:", str::is_empty).skip(1);
    let names: Vec<&str> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.contains(&"build") && names.len() >= 10, "{names:?}");
    for name in names {
        assert!(commands.contains(&format!("index {name}")), "'index {name}' is not in tests/verbs.csv");
    }
}
