// SPDX-License-Identifier: MPL-2.0

//! What the guest's init is to do: the contents of `/etc/pollux/job` (see `test/init/init.h` for the reading side).

use std::path::Path;

/// The guest's search path.
pub const GUEST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One program to run.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The file to execute.
    pub path: String,
    /// Its `argv`.
    pub argv: Vec<String>,
    /// Its environment, `K=V`.
    pub env: Vec<String>,
    /// Its working directory.
    pub cwd: String,
    /// The terminal it gets, with rows and columns; `None` for pipes.
    pub terminal: Option<(u16, u16)>,
}

impl Job {
    /// NUL-terminated records `key=value`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |key: &str, value: &str| {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        };
        put("arg", &self.path);
        put("argv0", &self.argv[0]);
        self.argv[1..].iter().for_each(|arg| put("arg", arg));
        self.env.iter().for_each(|variable| put("env", variable));
        put("cwd", &self.cwd);
        if let Some((rows, cols)) = self.terminal {
            put("tty", "1");
            put("rows", &rows.to_string());
            put("cols", &cols.to_string());
        }
        out
    }

    /// Runs the program under `strace`, which writes to the kernel's console so that the program's streams stay clean.
    pub fn under_tracer(&mut self, strace: &Path) {
        let mut argv: Vec<String> =
            ["strace", "-f", "-qq", "-s", "64", "-o", "/dev/ttyS0", "--"].map(String::from).into();
        argv.push(std::mem::replace(&mut self.path, strace.display().to_string()));
        argv.extend_from_slice(&self.argv[1..]);
        self.argv = argv;
    }
}

/// The environment of the guest's program: a plain one, and `wanted` (`K=V`, or `K` for the value it has here).
pub fn environment(wanted: &[String], terminal: bool) -> Vec<String> {
    let mut variables =
        vec![format!("PATH={GUEST_PATH}"), "HOME=/root".to_owned(), "USER=root".to_owned(), "LANG=C.UTF-8".to_owned()];
    if terminal {
        let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
        variables.push(format!("TERM={term}"));
    }
    for variable in wanted {
        let (key, value) = match variable.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => match std::env::var(variable) {
                Ok(value) => (variable.as_str(), value),
                Err(_) => continue,
            },
        };
        variables.retain(|known| known.split('=').next() != Some(key));
        variables.push(format!("{key}={value}"));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            path: "/bin/echo".into(),
            argv: ["echo", "a b", ""].map(String::from).into(),
            env: vec!["K=V=W".into()],
            cwd: "/tmp".into(),
            terminal: None,
        }
    }

    #[test]
    fn records_end_with_nul() {
        assert_eq!(job().encode(), b"arg=/bin/echo\0argv0=echo\0arg=a b\0arg=\0env=K=V=W\0cwd=/tmp\0");
        let on_terminal = Job { terminal: Some((24, 80)), ..job() };
        assert!(on_terminal.encode().ends_with(b"tty=1\0rows=24\0cols=80\0"));
    }

    #[test]
    fn a_tracer_goes_in_front() {
        let mut job = job();
        job.under_tracer(Path::new("/usr/bin/strace"));
        assert_eq!(job.path, "/usr/bin/strace");
        assert_eq!(job.argv[job.argv.len() - 4..], ["--", "/bin/echo", "a b", ""]);
    }

    #[test]
    fn wanted_variables_win() {
        let variables = environment(&["HOME=/x".into(), "NO_SUCH_VARIABLE_HERE".into(), "A=".into()], false);
        assert!(variables.contains(&"HOME=/x".to_owned()) && variables.contains(&"A=".to_owned()));
        assert_eq!(variables.iter().filter(|v| v.starts_with("HOME=")).count(), 1);
        assert!(!variables.iter().any(|v| v.starts_with("NO_SUCH")));
    }
}
