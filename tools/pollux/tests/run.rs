// SPDX-License-Identifier: MPL-2.0

//! The whole path of `pollux run`, with a machine and a kernel. `POLLUX_TEST_KERNEL` says which (default: linux, the
//! oracle). They take QEMU and what `make setup` and `make tools` provide, so they run only when asked for:
//!
//! ```sh
//! POLLUX_TEST_KERNEL=pollux sh scripts/cargo.sh test --manifest-path tools/Cargo.toml --test run -- --ignored
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Boots of a loaded machine can be slow; none of the programs takes long.
const TIMEOUT: &str = "60";

fn pollux(options: &[&str]) -> Command {
    let kernel = std::env::var("POLLUX_TEST_KERNEL").unwrap_or_else(|_| "linux".into());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollux"));
    // The programs named here are the distribution's, whatever PATH the tests are started with.
    command.env("POLLUX_USER_PATH", "/usr/bin:/bin");
    command.args(["run", "--kernel", &kernel]);
    if !options.contains(&"--timeout") {
        command.args(["--timeout", TIMEOUT]);
    }
    command.args(options);
    command
}

fn run_with(options: &[&str], program: &[&str], input: &[u8]) -> Output {
    let mut command = pollux(options);
    command.arg("--").args(program);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("pollux starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that does not read its input is no error.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn run(program: &[&str]) -> Output {
    run_with(&[], program, b"")
}

fn shell(script: &str) -> Output {
    run(&["sh", "-c", script])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn assert_status(output: &Output, status: i32) {
    assert_eq!(
        output.status.code(),
        Some(status),
        "stdout: {}\nstderr: {}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Bytes of all values in no simple order.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes: Vec<u8> = (0..=255).collect();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[test]
#[ignore = "boots a machine"]
fn streams_are_apart_and_the_status_is_the_programs() {
    let output = shell("echo out; echo err >&2; exit 3");
    assert_status(&output, 3);
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("out\n", "err\n"));
}

#[test]
#[ignore = "boots a machine"]
fn a_signal_is_128_and_its_number() {
    assert_status(&shell("kill -TERM $$"), 143);
    assert_status(&shell("kill -KILL $$"), 137);
}

#[test]
#[ignore = "boots a machine"]
fn all_bytes_pass_both_ways() {
    let input = noise(64 << 10);
    let output = run_with(&[], &["cat"], &input);
    assert_status(&output, 0);
    assert!(output.stdout == input, "{} bytes came back of {}", output.stdout.len(), input.len());
}

#[test]
#[ignore = "boots a machine"]
fn a_mebibyte_passes_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("noise");
    let contents = noise(1 << 20);
    std::fs::write(&path, &contents).unwrap();
    // The file comes along because an argument names it.
    let output = run(&["cat", path.to_str().unwrap()]);
    assert_status(&output, 0);
    assert!(output.stdout == contents, "{} bytes came of {}", output.stdout.len(), contents.len());
}

#[test]
#[ignore = "boots a machine"]
fn end_of_input_is_passed_on() {
    assert_eq!(text(&run_with(&[], &["wc", "-c"], b"").stdout).trim(), "0");
    let output = run_with(&[], &["sort"], b"b\nc\na");
    assert_eq!(text(&output.stdout), "a\nb\nc\n");
}

#[test]
#[ignore = "boots a machine"]
fn unread_input_does_no_harm() {
    let output = run_with(&[], &["sh", "-c", "exec 0<&-; sleep 1; echo done"], &noise(200_000));
    assert_status(&output, 0);
    assert_eq!(text(&output.stdout), "done\n");
}

#[test]
#[ignore = "boots a machine"]
fn output_of_orphans_is_not_awaited() {
    let start = Instant::now();
    let output = shell("sleep 300 & echo here");
    assert_status(&output, 0);
    assert_eq!(text(&output.stdout), "here\n");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
#[ignore = "boots a machine"]
fn a_timeout_is_124() {
    let start = Instant::now();
    let output = run_with(&["--timeout", "6"], &["sh", "-c", "echo started; sleep 1000"], b"");
    assert_status(&output, 124);
    assert!(text(&output.stderr).contains("timed out after 6 s"));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
#[ignore = "boots a machine"]
fn a_timeout_before_the_program_says_so() {
    // A machine that is never started.
    let output = run_with(&["--timeout", "2", "--qemu-arg=-S"], &["true"], b"");
    assert_status(&output, 124);
    assert!(text(&output.stderr).contains("timed out after 2 s; the program was not yet started\n"));
}

#[test]
#[ignore = "boots a machine"]
fn arguments_environment_and_directory_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let cwd = directory.path().canonicalize().unwrap();
    let script = r#"printf '<%s>' "$@"; echo; echo "$COLOUR"; pwd"#;
    let output = pollux(&["--env", "COLOUR=blue green"])
        .current_dir(&cwd)
        .args(["--", "sh", "-c", script, "name", "a b", "", "*", "--smp"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_status(&output, 0);
    assert_eq!(text(&output.stdout), format!("<a b><><*><--smp>\nblue green\n{}\n", cwd.display()));
}

#[test]
#[ignore = "boots a machine"]
fn scripts_find_their_interpreter() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/usr/bin/env dash\necho \"$0 has $# arguments\"\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let output =
        pollux(&[]).current_dir(directory.path()).args(["--", "./script", "x"]).stdin(Stdio::null()).output().unwrap();
    assert_status(&output, 0);
    assert!(text(&output.stdout).ends_with("script has 1 arguments\n"), "{}", text(&output.stdout));
}

#[test]
#[ignore = "boots a machine"]
fn added_directories_are_there() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "contents\n").unwrap();
    std::os::unix::fs::symlink("file", directory.path().join("link")).unwrap();
    let add = format!("{}:/data", directory.path().display());
    let output = run_with(&["--add", &add, "--gzip"], &["cat", "/data/link"], b"");
    assert_status(&output, 0);
    assert_eq!(text(&output.stdout), "contents\n");
}

#[test]
#[ignore = "boots a machine"]
fn what_cannot_be_executed_is_126_or_127() {
    assert_status(&shell("/no/such/program"), 127);
    assert_status(&shell("/etc/passwd"), 126);
}

#[test]
#[ignore = "boots a machine"]
fn system_calls_are_traced_to_standard_error() {
    let output = run_with(&["--trace"], &["echo", "traced"], b"");
    assert_status(&output, 0);
    assert_eq!(text(&output.stdout), "traced\n");
    let trace = text(&output.stderr);
    let wrote = trace
        .lines()
        .any(|line| line.starts_with("[pid ") && line.contains("write(1, \"traced\\n\", 7)") && line.ends_with("= 7"));
    assert!(wrote, "{trace}");
}

#[test]
#[ignore = "boots a machine"]
fn counted_instructions_make_time_exact() {
    // The guest's clock counts its own instructions, so two runs agree, however busy this machine is.
    let uptime = || {
        let output = run_with(&["--icount"], &["sh", "-c", "sleep 2; cat /proc/uptime"], b"");
        assert_status(&output, 0);
        text(&output.stdout)
    };
    let first = uptime();
    assert!(first.split_once('.').is_some_and(|(seconds, _)| seconds.parse::<u32>().is_ok_and(|s| s >= 2)), "{first}");
    assert_eq!(first, uptime());
}

#[test]
#[ignore = "boots a machine"]
fn more_cpus_are_there() {
    let output = run_with(&["--smp", "4"], &["nproc"], b"");
    assert_status(&output, 0);
    assert_eq!(text(&output.stdout), "4\n");
}

#[test]
#[ignore = "boots a machine"]
fn ctrl_c_goes_to_the_program() {
    let mut child = pollux(&[])
        .args(["--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = [0; 6];
    stdout.read_exact(&mut seen).unwrap();
    interrupt(&child);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("caught\n", Some(9)));
}

fn interrupt(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}

#[test]
#[ignore = "boots a machine"]
fn a_closed_output_ends_the_run() {
    let mut child = pollux(&[]).args(["--", "yes"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 64];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    // The pipe is closed now.
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

/// Reads from the terminal until `wanted` has come `times` times, and returns all that came.
fn read_until(terminal: &mut File, wanted: &str, times: usize) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 512];
    while text(&seen).matches(wanted).count() < times {
        match terminal.read(&mut chunk) {
            Ok(n) if n > 0 => seen.extend_from_slice(&chunk[..n]),
            other => panic!("{other:?} before {wanted:?}; seen: {}", text(&seen)),
        }
    }
    text(&seen)
}

#[test]
#[ignore = "boots a machine"]
fn on_a_terminal_the_program_gets_a_terminal() {
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let slave = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let mut child = pollux(&[])
        .args(["--", "sh"])
        .stdin(slave(&pty.slave))
        .stdout(slave(&pty.slave))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Or end-of-file would never be seen.
    drop(pty.slave);
    let mut terminal = File::from(pty.master);
    read_until(&mut terminal, "# ", 1);
    terminal.write_all(b"stty size; test -t 0 && echo on-a-$((40+2))-terminal\n").unwrap();
    let seen = read_until(&mut terminal, "on-a-42-terminal\r\n# ", 1);
    assert!(seen.contains("33 99"), "{seen}");
    // Once by the terminal's echo, once by cat.
    terminal.write_all(b"cat\nechoed\n").unwrap();
    read_until(&mut terminal, "echoed", 2);
    // Ctrl-C is a key here.
    terminal.write_all(b"\x03").unwrap();
    read_until(&mut terminal, "^C\r\n# ", 1);
    terminal.write_all(b"exit 5\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
#[ignore = "boots a machine"]
fn mistakes_are_125() {
    let output = pollux(&[]).args(["--", "no-such-program"]).output().unwrap();
    assert_status(&output, 125);
    assert!(text(&output.stderr).contains("not on the PATH"));
    assert_status(&pollux(&["--mem", "2G"]).args(["--", "true"]).output().unwrap(), 125);
    assert_status(&pollux(&["--icount", "--smp", "2"]).args(["--", "true"]).output().unwrap(), 125);
}
