//! Batches of queries, lists, and what programs say to terminals, pipes and people who want quiet.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sketchfind_tests::programs::{Said, fail, program, run, succeed};
use sketchfind_tests::{surroundings, toy};

use crate::serve::{Scene, png};

fn sketchfind(arguments: &[&str]) -> Command {
    let mut command = program("sketchfind");
    command.args(arguments);
    command
}

fn query(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = sketchfind(&["query", "-k", "1", "--gallery"]);
    command.arg(scene.path("gallery")).args(arguments);
    command
}

/// Runs a command that is given `input`.
fn given(command: &mut Command, input: &[u8]) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that does not read it all may end before.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Said { code: output.status.code(), out, err }
}

/// What stands in CSV: `sketch` and `id` of each row.
fn rows(csv: &str) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(
        reader.headers().unwrap(),
        vec!["sketch", "rank", "id", "distance", "path", "labels", "product"]
    );
    reader.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[2].to_owned())).collect()
}

#[test]
fn a_bad_sketch_costs_only_its_own_answer() {
    let scene = Scene::new();
    let sketch = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = scene.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let good = [sketch("a.png", &png(4, 4, [250, 0, 0])), sketch("c.png", &png(4, 4, [0, 0, 250]))];
    std::fs::create_dir(scene.path("folder")).unwrap();
    let cut = png(9, 9, [1; 3]);
    for (bad, reason) in [
        (sketch("empty.png", b""), "it is empty"),
        (sketch("text.png", b"no image"), "it is not a"),
        (sketch("cut.png", &cut[..cut.len() / 2]), "cut.png"),
        (scene.path("nowhere.png"), "cannot read"),
        (scene.path("folder"), "cannot read"),
    ] {
        let ask = |arguments: &[&str]| run(query(&scene, arguments).arg(&good[0]).arg(&bad).arg(&good[1]));
        // Without being asked to go on it stops there, and what was found before has come out, whole.
        let said = ask(&["--format", "csv"]);
        assert_ne!(said.code, Some(0));
        assert_eq!(rows(&said.out), [(good[0].display().to_string(), "red.png".into())], "{}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains(reason), "{}", said.err);
        let said = ask(&["--format", "json"]);
        let array: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((array.as_array().unwrap().len(), array[0]["id"].as_str()), (1, Some("red.png")));
        let said = ask(&[]);
        assert!(said.out.contains("red.png") && !said.out.contains("blue.png"), "{}", said.out);

        // As it was asked to: it is named, and the exit code says that some are missing.
        let said = ask(&["--format", "csv", "--skip-broken"]);
        assert_eq!(said.code, Some(5), "{}", said.err);
        let found: Vec<String> = rows(&said.out).into_iter().map(|(_, id)| id).collect();
        assert_eq!(found, ["red.png", "blue.png"]);
        let name = bad.file_name().unwrap().to_str().unwrap();
        assert!(said.err.contains(&format!("{name}'")) && said.err.contains(reason), "{}", said.err);
        assert!(said.err.contains("2 sketches answered, 1 left out"), "{}", said.err);
        let said = ask(&["--format", "json", "--skip-broken"]);
        let array: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(array.as_array().unwrap().len(), 2);
        // None could be read: then it is not a matter of some.
        let said = run(query(&scene, &["--skip-broken", "--format", "json"]).arg(&bad).arg(&bad));
        assert_eq!((said.code, said.out.as_str()), (Some(3), "[]\n"), "{}", said.err);
    }
    // A gallery that cannot be opened is no matter of a sketch.
    let mut elsewhere = sketchfind(&["query", "--skip-broken", "--gallery"]);
    fail(elsewhere.arg(scene.path("nowhere")).arg(&good[0]), 3, &["error:", "nowhere"]);
}

/// An answer is out before the next question is read: memory does not grow with their number.
#[test]
fn answers_come_out_as_they_are_found() {
    let scene = Scene::new();
    for (format, n_before, n_lines) in [("csv", 1, 1), ("json", 1, 9), ("table", 0, 3)] {
        let mut command = query(&scene, &["--format", format, "--list", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut read = |n: usize| -> String {
            let mut text = String::new();
            for _ in 0..n {
                output.read_line(&mut text).unwrap();
            }
            text
        };
        for (number, colour) in ["red", "blue", "green"].iter().enumerate() {
            writeln!(input, "{}", scene.path(&format!("photos/{colour}.png")).display()).unwrap();
            input.flush().unwrap();
            // The last line of a row of JSON is ended by what comes behind it.
            let text = match (format, number) {
                ("json", _) => read(8),
                ("table", 0) => read(n_lines),
                ("table", _) => read(n_lines + 1),
                (_, 0) => read(n_before + n_lines),
                _ => read(n_lines),
            };
            assert!(text.contains(&format!("{colour}.png")), "{format} {number}: {text}");
        }
        drop(input);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_dash_is_standard_input() {
    let scene = Scene::new();
    let red = png(4, 4, [250, 0, 0]);
    let said = given(query(&scene, &["--format", "csv", "-"]).arg(scene.path("photos/blue.png")), &red);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let blue = scene.path("photos/blue.png").display().to_string();
    assert_eq!(rows(&said.out), [("-".into(), "red.png".into()), (blue, "blue.png".into())]);
    // Bad ones are told as those of files are.
    for (input, reason) in [(b"no image".as_slice(), "it is not a"), (b"", "it is empty")] {
        let said = given(&mut query(&scene, &["-"]), input);
        assert_eq!(said.code, Some(3));
        assert!(said.err.contains("on standard input") && said.err.contains(reason), "{}", said.err);
    }
    let said = given(&mut query(&scene, &["--max-pixels", "1", "-"]), &vec![b'x'; 3 << 20]);
    assert!(said.code == Some(3) && said.err.contains("it is longer than"), "{}", said.err);
    fail(&mut query(&scene, &["-", "-"]), 3, &["standard input holds one image"]);

    // Lists: of a file, of standard input; names with spaces and with bytes that are no text.
    let odd = scene.path("a sketch.png");
    std::fs::write(&odd, &red).unwrap();
    let list = scene.path("list.txt");
    std::fs::write(&list, format!("{}\r\n\n{}", odd.display(), scene.path("photos/green.png").display()))
        .unwrap();
    let text = std::fs::read(&list).unwrap();
    for said in [
        run(query(&scene, &["--format", "csv", "--list"]).arg(&list)),
        given(&mut query(&scene, &["--format", "csv", "--list", "-"]), &text),
    ] {
        let found: Vec<String> = rows(&said.out).into_iter().map(|(_, id)| id).collect();
        assert_eq!(found, ["red.png", "green.png"], "{}", said.err);
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"\xff\xfe.png");
        std::fs::write(scene.path("").join(name), &red).unwrap();
        let line = [scene.path("").as_os_str().as_bytes(), b"/\xff\xfe.png\n"].concat();
        let said = given(&mut query(&scene, &["--format", "csv", "--list", "-"]), &line);
        assert_eq!(rows(&said.out)[0].1, "red.png", "{}", said.err);
    }
    fail(query(&scene, &["--list"]).arg(scene.path("nowhere.txt")), 3, &["nowhere.txt"]);
    fail(query(&scene, &["--list"]).arg(&list).arg(&odd), 2, &["--list"]);
    fail(&mut query(&scene, &[]), 2, &["SKETCHES"]);
    let said = given(&mut query(&scene, &["--list", "-"]), b"-\n");
    assert!(said.code == Some(3) && said.err.contains("line 1 is '-'"), "{}", said.err);
    let said = given(&mut query(&scene, &["--format", "json", "--list", "-"]), b"\n");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "[]\n"));
    assert!(said.err.contains("the list has no paths"), "{}", said.err);
}

#[test]
fn an_empty_answer_has_its_header_and_a_reason() {
    let scene = Scene::new();
    let red = scene.path("photos/red.png");
    let check = |arguments: &[&str], reason: &str| {
        for (format, expected) in [
            ("csv", "sketch,rank,id,distance,path,labels,product\n".to_owned()),
            ("json", "[]\n".to_owned()),
            (
                "table",
                format!("{0}:\nrank  distance  id  path\n\n{0}:\nrank  distance  id  path\n", red.display()),
            ),
        ] {
            let said = run(query(&scene, &["--format", format]).args(arguments).arg(&red).arg(&red));
            assert_eq!((said.code, said.out.as_str()), (Some(0), expected.as_str()), "{}", said.err);
            // Once, not for each sketch.
            assert_eq!(said.err, format!("nothing found: {reason}\n"));
        }
    };
    check(&["--any-label", "bots"], "no photo has the label 'bots'");
    check(&["--every-label", "a", "--every-label", "b"], "no photo has the label 'a' or 'b'");
    check(&["--only-id", "red.jpg"], "the gallery has no photo 'red.jpg'");
    let mut label = sketchfind(&["index", "add", "--label", "boots", "--gallery"]);
    succeed(label.arg(scene.path("gallery")).arg("--photos").arg(scene.path("photos")));
    check(&["--without-label", "boots"], "the filter leaves none of the 4 photos");
    let mut remove = sketchfind(&["index", "remove", "--gallery"]);
    remove.arg(scene.path("gallery"));
    succeed(remove.args(["red.png", "green.png", "blue.png", "white.png"]));
    check(&[], "the gallery has no photos");
    let help = succeed(sketchfind(&["--help"]).arg("--quiet"));
    assert!(help.contains("nothing was found is an answer") && help.contains("5  done, but"), "{help}");
}

/// The command, with a pipe as its output that nobody reads any more.
fn unread(command: &mut Command, closes_errors: bool) -> Said {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap());
    command.stderr(if closes_errors { Stdio::from(writer) } else { Stdio::piped() });
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Said { code: output.status.code(), out: String::new(), err }
}

#[test]
fn a_broken_pipe_ends_every_command_silently() {
    let scene = Scene::new();
    let data = scene.path("data");
    toy::dataset(&data, 3, 3, 1).unwrap();
    let fixtures = surroundings::checkout().join("runtime/tests/fixtures");
    let mean8 = fixtures.join("mean8");
    let with = |arguments: &[&str], paths: &[&Path]| {
        let mut command = sketchfind(arguments);
        command.args(paths);
        command
    };
    let red = scene.path("photos/red.png");
    let report = |name: &str| {
        let report = scene.path(name);
        let mut eval = with(&["eval", "--samples", "100", "--model"], &[&mean8, Path::new("--data"), &data]);
        eval.arg("--out").arg(report);
        eval
    };
    succeed(&mut report("report"));
    let (gallery, compared) = (scene.path("gallery"), scene.path("report"));
    let mut commands = vec![
        with(&["--help"], &[]),
        with(&["--version"], &[]),
        with(&["query", "--help"], &[]),
        with(&["info"], &[]),
        with(&["info"], &[&mean8]),
        with(&["info"], &[&gallery]),
        with(&["verify"], &[&mean8]),
        with(&["data", "check"], &[&data]),
        with(&["serve", "--openapi"], &[]),
        with(&["man"], &[]),
        with(&["man", "index", "build"], &[]),
        with(&["compare"], &[&compared, &compared]),
        report("report-unread"),
        with(
            &["neighbours", "--samples", "100", "--model"],
            &[
                &mean8,
                Path::new("--reference"),
                &mean8,
                Path::new("--photos"),
                &scene.path("photos"),
                Path::new("--out"),
                &scene.path("neighbours"),
            ],
        ),
        with(&["index", "compact", "--gallery"], &[&gallery]),
        with(&["index", "add", "--gallery"], &[&gallery, Path::new("--photos"), &scene.path("photos")]),
        with(
            &["embed", "--model"],
            &[&mean8, Path::new("--data"), &data, Path::new("--out"), &scene.path("e.npy")],
        ),
    ];
    commands.extend(
        ["bash", "zsh", "fish", "elvish", "powershell"].map(|shell| with(&["completions", shell], &[])),
    );
    for format in ["table", "json", "csv"] {
        commands.push(with(&["data", "stats", "--format", format], &[&data]));
        commands.push(with(&["query", "--format", format, "--gallery"], &[&gallery, &red, &red]));
    }
    for command in &mut commands {
        let said = unread(command, false);
        assert_eq!(said.code, Some(0), "{command:?}\n{}", said.err);
        for word in ["panic", "error", "roken pipe"] {
            assert!(!said.err.contains(word), "{command:?}\n{}", said.err);
        }
    }
    // A report that was asked for twice is refused, whoever reads that.
    for command in &mut commands {
        let code = unread(command, true).code;
        assert!(code == Some(0) || code == Some(3), "{command:?} {code:?}");
    }
    // A check that does not pass does not pass, though nobody reads why.
    std::fs::write(data.join("photo/001.png"), "no image").unwrap();
    assert_eq!(unread(&mut with(&["data", "check"], &[&data]), true).code, Some(4));
    let model = scene.path("model");
    std::fs::create_dir(&model).unwrap();
    succeed(Command::new("cp").arg("-r").arg(mean8.join(".")).arg(&model));
    let probe = std::fs::read(model.join("probe.npy")).unwrap();
    let mut other = probe.clone();
    let place = other.len() - 1;
    other[place] ^= 0x3f;
    std::fs::write(model.join("probe.npy"), other).unwrap();
    assert_eq!(unread(&mut with(&["verify"], &[&model]), true).code, Some(4));
}

/// Nothing that a terminal takes for a command.
#[track_caller]
fn harmless(said: &Said) {
    for text in [&said.out, &said.err] {
        let command = text.chars().find(|&char| (char.is_control() && char != '\n') || char == '\u{202e}');
        assert_eq!(command, None, "{text:?}");
    }
}

#[cfg(unix)]
#[test]
fn no_control_character_reaches_a_terminal() {
    let scene = Scene::new();
    // A name that colours, moves the cursor, rings, forges a line and turns what follows around.
    let evil = "\u{1b}[31m\u{7}\r\nerror: forged\u{9b}2J\u{202e}gpj.png";
    let shown = r"\u{1b}[31m\u{7}\r\nerror: forged\u{9b}2J\u{202e}gpj.png";
    let more = scene.path("more");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join(evil), png(4, 4, [9, 8, 7])).unwrap();
    let gallery = scene.path("gallery");
    let mut add = sketchfind(&["index", "add", "--label", evil, "--gallery"]);
    let said = run(add.arg(&gallery).arg("--photos").arg(&more));
    assert_eq!(said.code, Some(0), "{}", said.err);
    harmless(&said);

    let ask = |arguments: &[&str]| run(query(&scene, arguments).arg(more.join(evil)));
    let said = ask(&[]);
    harmless(&said);
    assert!(said.out.matches(shown).count() >= 3, "sketch, id and path\n{}", said.out);
    assert_eq!(said.out.lines().count(), 3, "{}", said.out);
    // Formats of their own keep what they are given, each in its way.
    assert_eq!(rows(&ask(&["--format", "csv"]).out)[0].1, evil);
    let array: serde_json::Value = serde_json::from_str(&ask(&["--format", "json"]).out).unwrap();
    assert_eq!(array[0]["id"].as_str(), Some(evil));
    let said = ask(&["--any-label", "\u{1b}]0;title\u{7}"]);
    assert!(said.err.contains(r"no photo has the label '\u{1b}]0;title\u{7}'"), "{}", said.err);
    harmless(&said);

    harmless(&run(sketchfind(&["index", "remove", "--gallery"]).arg(&gallery).arg("\u{1b}[2J")));
    // Errors and warnings that name paths, ids and what was typed.
    std::fs::write(more.join(evil), "no image").unwrap();
    let nowhere = scene.path(evil);
    let with = |arguments: &[&str], path: &Path| {
        let mut command = sketchfind(arguments);
        command.arg(path);
        run(&mut command)
    };
    let train = |before: &[&str], after: &[&str]| {
        run(program("sketchfind-train").args(before).arg(&nowhere).args(after))
    };
    let data = scene.path("data");
    std::fs::create_dir(&data).unwrap();
    let manifest = format!(
        "id,modality,instance,split,path\n\"{0}\",photo,1,train,\"../more/{0}\"\nok,sketch,1,train,../photos/red.png\n",
        evil
    );
    std::fs::write(data.join("manifest.csv"), manifest).unwrap();
    for (said, code) in [
        (ask(&[]), 3),
        (ask(&["--skip-broken"]), 3),
        (with(&["info"], &nowhere), 3),
        (with(&["verify"], &nowhere), 3),
        (with(&["data", "check"], &nowhere), 3),
        (with(&["data", "check"], &data), 4),
        (with(&["data", "stats"], &data), 0),
        (with(&["serve", "--gallery"], &nowhere), 3),
        (with(&["compare", "x"], &nowhere), 3),
        (
            run(sketchfind(&["index", "add", "--skip-broken", "--gallery"])
                .arg(&gallery)
                .arg("--photos")
                .arg(&more)),
            3,
        ),
        // What clap says of what was typed.
        (run(&mut sketchfind(&[&format!("--{evil}")])), 2),
        (run(&mut sketchfind(&["info", "a", evil])), 2),
        (run(&mut sketchfind(&["serve", "--address", evil])), 2),
        // The program that trains.
        (train(&["fit", "--data"], &["--config", evil, "--out", evil]), 3),
        (train(&["export", "--out", evil], &[]), 3),
        (train(&["fit", evil], &[]), 2),
    ] {
        harmless(&said);
        assert_eq!(said.code, Some(code), "{}", said.err);
        assert!(!said.err.lines().any(|line| line.starts_with("error: forged")), "{}", said.err);
    }
}

#[test]
fn quiet_says_only_what_is_wrong() {
    let scene = Scene::new();
    let fixtures = surroundings::checkout().join("runtime/tests/fixtures");
    let build = |arguments: &[&str]| {
        let mut build = sketchfind(&["index", "build", "--model"]);
        build.arg(fixtures.join("mean8")).arg("--photos").arg(scene.path("photos"));
        run(build.arg("--out").arg(scene.path("built")).args(arguments))
    };
    assert!(build(&[]).err.contains("gallery of 4 photos"));
    for quiet in ["--quiet", "-q"] {
        let said = build(&[quiet]);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));
    }
    std::fs::write(scene.path("photos/broken.png"), "no image").unwrap();
    let said = build(&["--quiet", "--skip-broken"]);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.starts_with("left out: ") && said.err.contains("broken.png"), "{}", said.err);
    let said = build(&["-q"]);
    assert!(said.code == Some(3) && said.err.contains("error: the image 'broken.png'"), "{}", said.err);
    // Before the command too, and what is data is no noise.
    let mut first = sketchfind(&["-q", "query", "-k", "1", "--format", "csv", "--gallery"]);
    let said = run(first.arg(scene.path("built")).arg(scene.path("photos/red.png")));
    assert_eq!((rows(&said.out).len(), said.err.as_str()), (1, ""));
    let said = run(query(&scene, &["--quiet", "--any-label", "none"]).arg(scene.path("photos/red.png")));
    assert!(said.err.contains("no photo has the label 'none'"), "{}", said.err);
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man/man1");
    let said = run(sketchfind(&["man", "--out"]).arg(&pages));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let mut names: Vec<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in ["sketchfind.1", "sketchfind-query.1", "sketchfind-index-build.1", "sketchfind-data-import.1"]
    {
        assert!(names.iter().any(|own| own == name), "{names:?}");
        let page = std::fs::read_to_string(pages.join(name)).unwrap();
        assert!(page.contains(".TH ") && page.contains(".SH SYNOPSIS"), "{page}");
    }
    // As many as the help has commands.
    let help = succeed(&mut sketchfind(&["--help"]));
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let named: Vec<&str> =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    for command in named.iter().filter(|name| !name.is_empty() && **name != "help") {
        assert!(names.contains(&format!("sketchfind-{command}.1")), "{command} is not among {names:?}");
    }
    let page = succeed(&mut sketchfind(&["man"]));
    assert!(page.contains("Exit codes:") && page.contains("sketchfind\\-query"), "{page}");
    assert!(succeed(&mut sketchfind(&["man", "index", "build"])).contains("skip\\-broken"));
    fail(&mut sketchfind(&["man", "index", "bild"]), 2, &["'sketchfind-index' has no command 'bild'"]);
}
