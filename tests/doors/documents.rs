//! The documents: each command in them exists with its options, and the blocks of the tutorials run, on a data set that is drawn
//! on the spot. (Links are checked by `cargo xtask tidy`, examples in Rust and Python where these are tested.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use sketchfind_tests::programs::{as_a_person_has_it, program, run, succeed};
use sketchfind_tests::{surroundings, toy};

/// Every page, by its path in the checkout.
fn pages() -> BTreeMap<String, String> {
    let mut files: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "python/README.md"].map(PathBuf::from).into();
    let root = surroundings::checkout();
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("models/zoo")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                files.push(path);
            }
        }
    }
    files
        .iter()
        .map(|file| (file.display().to_string(), fs::read_to_string(root.join(file)).unwrap()))
        .collect()
}

/// The blocks of a page in the language `sh`, and its code between words.
fn code(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut blocks, mut spans) = (Vec::new(), Vec::new());
    let mut block: Option<String> = None;
    for event in Parser::new(page) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) if &*language == "sh" => {
                block = Some(String::new());
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
            Event::Text(text) => {
                if let Some(block) = &mut block {
                    block.push_str(&text);
                }
            }
            Event::Code(text) => spans.push(text.into_string()),
            _ => {}
        }
    }
    (blocks, spans)
}

/// The commands of a shell's text, as words: enough of a shell for documents.
fn commands(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut words) = (Vec::new(), Vec::new());
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let text = text.replace("\\\n", " ");
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => while characters.next_if(|&next| next != '\n').is_some() {},
            ('\n' | ';' | '|' | '&' | '(' | ')' | '>', None) => {
                words.extend(word.take());
                all.push(std::mem::take(&mut words));
            }
            (' ', None) => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    all.push(words);
    all.retain(|words| !words.is_empty());
    all
}

/// Which program of ours a command starts, and with what.
fn ours(words: &[String]) -> Option<(&'static str, &[String])> {
    let is_before = |word: &&String| {
        ["time", "do"].contains(&word.as_str())
            || word
                .split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let words = &words[words.iter().take_while(is_before).count()..];
    let (first, rest) = words.split_first()?;
    match first.rsplit('/').next()? {
        "sketchfind" => Some(("sketchfind", rest)),
        "sketchfind-train" => Some(("sketchfind-train", rest)),
        "cargo" if rest.first().is_some_and(|word| word == "xtask") => Some(("xtask", &rest[1..])),
        // A bare `cargo run` is the program, but in the folder of an example.
        "cargo"
            if rest.first().is_some_and(|word| word == "run")
                && rest.iter().any(|word| word == "--release") =>
        {
            let at = rest.iter().position(|word| word == "--")?;
            Some(("sketchfind", &rest[at + 1..]))
        }
        _ => None,
    }
}

#[test]
fn a_shells_text_is_taken_apart() {
    let text = "X=1 a 'b c' \\\n  d # e\nf | g; for m in A B; do h $(i \"j;k\"); done\n#l\nm > n";
    let found: Vec<String> = commands(text).iter().map(|words| words.join("_")).collect();
    let expected = ["X=1_a_b c_d", "f", "g", "for_m_in_A_B", "do_h_$", "i_j;k", "done", "m", "n"];
    assert_eq!(found, expected);
    let of = |text: &str| ours(&commands(text)[0]).map(|(name, rest)| format!("{name} {}", rest.join(" ")));
    assert_eq!(of("X=1 target/release/sketchfind-train fit"), Some("sketchfind-train fit".into()));
    assert_eq!(of("cargo run --release -- draw x"), Some("sketchfind draw x".into()));
    assert_eq!(of("do sketchfind eval"), Some("sketchfind eval".into()));
    assert_eq!(of("cargo xtask test"), Some("xtask test".into()));
    assert_eq!(of("cargo build"), None);
}

/// What is wrong with a command, by the program itself: its words, and `--help` behind them, which it gets to where it knows all
/// that stands before.
fn refusal(name: &str, words: &[String]) -> Option<String> {
    let said = run(program(name).args(words).arg("--help"));
    (said.code != Some(0)).then(|| said.err.lines().next().unwrap_or_default().to_owned())
}

/// The words of a command without the places that its options name.
fn shape(words: &[String]) -> Vec<&str> {
    let places = ["--config", "--data", "--model", "--gallery", "--out"];
    let is_place = |at: usize| at > 0 && places.contains(&words[at - 1].as_str());
    words.iter().enumerate().map(|(at, word)| if is_place(at) { "PLACE" } else { word }).collect()
}

#[test]
fn each_command_in_the_documents_exists_with_its_options() {
    let words = |text: &str| commands(text)[0].clone();
    for wrong in ["index lost", "query --efs 3", "export run --precision int9", "info a b c"] {
        let name = if wrong.starts_with("export") { "sketchfind-train" } else { "sketchfind" };
        assert!(refusal(name, &words(wrong)).is_some(), "{wrong}");
    }

    let root = surroundings::checkout();
    let mut found: BTreeMap<(&str, Vec<String>), BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let (blocks, spans) = code(&text);
        // Between words `a|b` is a choice.
        let choices = |word: &String| word.split('|').next().unwrap_or_default().to_owned();
        let spans = spans.iter().map(|span| span.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let spans = spans.map(|words| words.iter().map(choices).filter(|word| !word.is_empty()).collect());
        for words in blocks.iter().flat_map(|block| commands(block)).chain(spans) {
            for word in &words {
                let is_ours = ["trainer/", "models/zoo/", "examples/", "benches/", "docs/"]
                    .iter()
                    .any(|folder| word.starts_with(folder));
                if is_ours && !word.contains('*') && !word.contains("NAME") && !root.join(word).exists() {
                    wrong.push(format!("{page}: '{word}' is not there"));
                }
            }
            if let Some((name, rest)) = ours(&words) {
                let rest: Vec<String> = rest.iter().filter(|word| *word != "...").cloned().collect();
                if !rest.is_empty() && words.get(1).is_some_and(|word| word != "...") {
                    found.entry((name, rest)).or_default().insert(page.clone());
                }
            }
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    // Of those that differ in nothing but where something lies, one is asked.
    let mut shapes = BTreeSet::new();
    let found: Vec<_> = found
        .into_iter()
        .filter(|((name, words), _)| shapes.insert((*name, shape(words).join("\n"))))
        .collect();
    // Each start of the trainer loads libtorch: two wait less than one.
    let halves = found.chunks(found.len().div_ceil(2));
    let refused = std::thread::scope(|scope| {
        let asked: Vec<_> = halves
            .map(|half| {
                scope.spawn(move || {
                    let told = half.iter().filter_map(|((name, words), pages)| {
                        let reason = refusal(name, words)?;
                        Some(format!("{pages:?}: {name} {}: {reason}", words.join(" ")))
                    });
                    told.collect::<Vec<_>>()
                })
            })
            .collect();
        asked.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    wrong.extend(refused);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_of_exit_codes_is_what_the_programs_say() {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = plain(&pages()["docs/exit-codes.md"]);
    for name in ["sketchfind", "sketchfind-train"] {
        let help = succeed(program(name).arg("--help"));
        let codes = plain(&help[help.find("Exit codes:").unwrap()..]);
        assert!(page.contains(&codes), "{codes}");
    }
}

/// A folder as the tutorials have it: photos, a drawing, a data set, the repository's models and configurations.
struct Scene {
    folder: tempfile::TempDir,
    /// The programs of a virtual environment that the reader is in.
    environment: Option<PathBuf>,
    /// Variables that the reader has set.
    variables: Vec<(&'static str, String)>,
}

impl Scene {
    fn new() -> Scene {
        let scene = Scene { folder: tempfile::tempdir().unwrap(), environment: None, variables: Vec::new() };
        let root = surroundings::checkout();
        toy::dataset(&scene.path("mydata"), 12, 6, 5).unwrap();
        for (from, to) in [
            ("000", "shop/photos/000.png"),
            ("001", "shop/photos/001.png"),
            ("002", "shop/photos/002.png"),
            ("003", "shop/photos/boots/17.jpg"),
            ("004", "new/photos/000.png"),
        ] {
            let to = scene.path(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(scene.path(&format!("mydata/photo/{from}.png")), to).unwrap();
        }
        fs::copy(scene.path("mydata/sketch/001-1.png"), scene.path("drawing.png")).unwrap();
        fs::create_dir(scene.path("models")).unwrap();
        symlink(root.join("models/zoo"), scene.path("models/zoo")).unwrap();
        symlink(root.join("trainer"), scene.path("trainer")).unwrap();
        scene
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Runs a block as a reader does who has pasted it.
    fn paste(&self, block: &str) {
        let programs = program("sketchfind");
        let mut folders = vec![Path::new(programs.get_program()).parent().unwrap().to_owned()];
        folders.extend(self.environment.clone());
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let path = std::env::join_paths(folders);
        let mut shell = Command::new("bash");
        as_a_person_has_it(&mut shell).env("PATH", path.unwrap()).current_dir(self.folder.path());
        if self.environment.is_some() {
            // What Ray leaves of itself stays here.
            shell.env("HOME", self.folder.path()).env("RAY_TMPDIR", self.folder.path());
        }
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        succeed(shell.args(["-euo", "pipefail", "-c", block]));
    }
}

/// Runs the blocks of a page, but for those that build, install or serve, and those that train where `trains` is false.
fn follow(scene: &Scene, page: &str, trains: bool) {
    let text = fs::read_to_string(surroundings::checkout().join("docs").join(page)).unwrap();
    follow_text(scene, page, &text, trains);
}

/// [`follow`] for a part of a page.
fn follow_text(scene: &Scene, page: &str, text: &str, trains: bool) {
    let left_out = ["cargo ", "pip ", "sketchfind serve", "export PG"];
    let (blocks, _) = code(text);
    let mut n_run = 0;
    for block in blocks {
        if left_out.iter().any(|words| block.contains(words)) || block.contains("sketchfind-train") && !trains
        {
            continue;
        }
        scene.paste(&block);
        n_run += 1;
    }
    assert!(n_run > 0, "{page}: no block was run");
}

/// A scene in which the released model stands for those that a reader has trained.
fn trained() -> Scene {
    let scene = Scene::new();
    for model in ["0", "1", "2"] {
        symlink(
            surroundings::checkout().join("models/zoo/general-mobilenet_v2"),
            scene.path(&format!("models/{model}")),
        )
        .unwrap();
    }
    scene
}

#[test]
fn the_tutorial_of_photos_runs() {
    follow(&Scene::new(), "tutorials/photos.md", false);
}

#[test]
fn the_tutorials_of_training_run_but_for_the_training() {
    let scene = trained();
    follow(&scene, "tutorials/pairs.md", false);
    fs::remove_dir_all(scene.path("shop.gallery")).unwrap();
    follow(&scene, "tutorials/photos-alone.md", false);
}

#[test]
fn the_tutorial_of_evaluation_runs() {
    follow(&trained(), "tutorials/evaluate.md", false);
}

#[test]
fn the_tutorial_of_ray_runs() {
    let Some(python) = surroundings::python_with_ray() else { return };
    let mut scene = Scene::new();
    scene.environment = python.parent().map(Path::to_owned);
    follow(&scene, "tutorials/ray.md", false);
}

#[test]
fn the_tutorial_of_postgresql_runs() {
    let Some(server) = sketchfind_tests::postgres::Server::start() else { return };
    let mut scene = Scene::new();
    let named = |name, value: &str| (name, value.to_owned());
    scene.variables = vec![
        named("PGHOST", "127.0.0.1"),
        named("PGPORT", &server.port().to_string()),
        named("PGUSER", "postgres"),
        named("PGDATABASE", "postgres"),
    ];
    let page = "tutorials/postgres.md";
    let text = fs::read_to_string(surroundings::checkout().join("docs").join(page)).unwrap();
    let (_, sql) = text.split_once("```sql\n").unwrap();
    let (before, after) = text.split_at(text.find("```sql").unwrap());
    follow_text(&scene, page, before, false);
    server.sql(sql.split_once("```").unwrap().0);
    follow_text(&scene, page, after, false);
    assert_eq!(server.sql("select count(*) from shoes"), "4");
}

#[test]
fn the_life_of_a_gallery_runs() {
    let scene = Scene::new();
    scene.paste("sketchfind index build --photos shop/photos --out shop.gallery");
    scene.paste("sketchfind index export --gallery shop.gallery --out own.parquet");
    let model = "models/zoo/general-mobilenet_v2";
    scene.paste(&format!(
        "sketchfind embed --model {model} --data mydata --modality sketches --out queries.npy"
    ));
    follow(&scene, "galleries.md", false);
}

#[test]
fn the_tutorials_of_training_run_with_the_training() {
    if !surroundings::is_slow_asked_for()
        || surroundings::provisioned("weights/mobilenet_v2.safetensors").is_none()
    {
        return;
    }
    let scene = Scene::new();
    follow(&scene, "tutorials/pairs.md", true);
    fs::remove_dir_all(scene.path("shop.gallery")).unwrap();
    follow(&scene, "tutorials/photos-alone.md", true);
}
