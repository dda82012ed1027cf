//! The examples as their readers have them: a program in Rust outside of the workspace. (Those in C and C++ are built in
//! `library.rs`, that in Python runs with the wheel's tests.)

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sketchfind_tests::http::Connection;
use sketchfind_tests::programs::succeed;
use sketchfind_tests::surroundings;

use crate::serve::{json, png};

/// Builds the service, as `cargo build` in its folder does. It shares next to nothing with the checkout's own programs, which
/// want other features of what it depends on.
fn service() -> PathBuf {
    let folder = surroundings::checkout().join("examples/rust");
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("examples");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build.args(["build", "--locked", "--config", "profile.dev.debug=false"]).current_dir(folder);
    // It is there for the times of tests alone; cargo would compile everything anew for it.
    succeed(build.env("CARGO_TARGET_DIR", &target).env_remove("RUSTC_BOOTSTRAP"));
    target.join("debug/shop")
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(program: &Path, arguments: &[&Path]) -> Running {
    let mut command = Command::new(program);
    Running(command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn a_service_in_rust_is_built_outside_of_the_workspace_and_serves() {
    if !surroundings::is_slow_asked_for() {
        return;
    }
    let service = service();
    let folder = tempfile::tempdir().unwrap();
    let (photos, gallery) = (folder.path().join("photos"), folder.path().join("gallery"));
    std::fs::create_dir(&photos).unwrap();
    const N: usize = 1_500;
    for number in 0..N {
        let colour = [(number % 250) as u8, (number / 250) as u8, 9];
        std::fs::write(photos.join(format!("{number}.png")), png(8, 8, colour)).unwrap();
    }
    let model = surroundings::checkout().join("runtime/tests/fixtures/mean8");
    let build = [Path::new("build"), &photos, &model, &gallery];

    // Stopped in the middle by Ctrl-C, it goes on where it was.
    let mut stopped = started(&service, &build);
    let mut told = BufReader::new(stopped.0.stderr.take().unwrap()).lines();
    assert!(told.next().unwrap().unwrap().ends_with(&format!("of {N} photos")));
    succeed(Command::new("kill").args(["-INT", &stopped.0.id().to_string()]));
    let rest: Vec<String> = told.map(Result::unwrap).collect();
    let ended = stopped.0.wait().unwrap();
    assert!(!ended.success() && rest.iter().any(|line| line.contains("ancelled")), "{ended}: {rest:?}");
    let said = succeed(Command::new(&service).args(build));
    let numbers: Vec<usize> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers.iter().sum::<usize>() == N && numbers[0] < N, "{said}");

    let mut server = started(&service, &[Path::new("serve"), &gallery, Path::new("127.0.0.1:0")]);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let ask = |target: &str, body: &[u8]| {
        Connection::open(&address).unwrap().ask("POST", target, &[], body).unwrap()
    };
    let blue = png(8, 8, [3, 3, 250]);
    assert_eq!(ask("/photos/blue?label=new&label=sale", &blue).status, 201);
    // Many threads ask one retriever.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let found = json(&ask("/find?k=3&label=new", &blue));
                let expected =
                    serde_json::json!([{ "id": "blue", "distance": 0.0, "labels": ["new", "sale"] }]);
                assert_eq!(found, expected);
                assert_eq!(json(&ask("/find?k=3", &blue)).as_array().unwrap().len(), 3);
            });
        }
    });
    let broken = ask("/find", b"no picture");
    assert!(broken.status == 422 && broken.text().contains("decode"), "{} {}", broken.status, broken.text());
}
