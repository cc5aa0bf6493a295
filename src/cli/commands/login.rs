//! `builder login` and `builder logout`

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use super::super::args::{LoginArgs, LogoutArgs};
use super::super::request::rooms;
use super::super::{CliError, Environment, Stop, screen};
use crate::failure::{ExitCode, Failure};
use crate::registry::{Client, Credential, StoredIn};

/// The longest password that is read, in bytes; tokens are long.
const PASSWORD_BYTES_MAX: u64 = 1 << 20;

/// Tries credentials at a registry and keeps them.
pub(crate) fn login(args: &LoginArgs, environment: &Environment) -> Result<ExitCode, Stop> {
    let options = rooms::registry(&args.registry, environment)?;
    let client = Client::new(Arc::new(options));
    let server = host(&args.server);
    let credential = credential(args, environment)?;
    let outcome = client.login(&server, credential).map_err(Failure::from)?;
    if let StoredIn::File(path) = &outcome.stored_in {
        screen::complain(|out| {
            writeln!(
                out,
                "WARNING: the password is stored unencrypted in {}",
                path.display()
            )
        });
    }
    super::print(b"Login Succeeded\n")?;
    Ok(ExitCode::Success)
}

/// Forgets credentials.
pub(crate) fn logout(args: &LogoutArgs, environment: &Environment) -> Result<ExitCode, Stop> {
    let options = rooms::registry(&args.registry, environment)?;
    let client = Client::new(Arc::new(options));
    let server = host(&args.server);
    let known = client.logout(&server).map_err(Failure::from)?;
    let line = if known {
        format!("Removed login credentials for {server}\n")
    } else {
        format!("Not logged in to {server}\n")
    };
    super::print(line.as_bytes())?;
    Ok(ExitCode::Success)
}

/// The host of what people write: an address, Docker Hub's old address, or a host.
fn host(server: &str) -> String {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

fn credential(args: &LoginArgs, environment: &Environment) -> Result<Credential, Stop> {
    let asks = environment.terminals.stdin;
    let user = match &args.username {
        Some(user) => user.clone(),
        None if args.password_stdin || !asks => return Err(CliError::NoPrompt.into()),
        None => ask("Username: ", Echo::On)?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => from_stdin()?,
        None if asks => ask("Password: ", Echo::Off)?,
        None => return Err(CliError::NoPrompt.into()),
    };
    Ok(Credential::basic(user, password))
}

/// All of standard input without the newline at its end.
fn from_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    io::stdin()
        .take(PASSWORD_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(CliError::Password)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

/// Asks on the terminal; without echo what is typed stays unseen.
fn ask(question: &str, echo: Echo) -> Result<String, CliError> {
    screen::complain(|out| {
        write!(out, "{question}")?;
        out.flush()
    });
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(|errno| CliError::Password(errno.into()))?;
    if echo == Echo::Off {
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)
            .map_err(|errno| CliError::Password(errno.into()))?;
    }
    let mut line = String::new();
    let read = stdin.lock().take(PASSWORD_BYTES_MAX).read_line(&mut line);
    if echo == Echo::Off {
        let restored = tcsetattr(&stdin, SetArg::TCSAFLUSH, &before);
        screen::complain(|out| writeln!(out));
        restored.map_err(|errno| CliError::Password(errno.into()))?;
    }
    read.map_err(CliError::Password)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts() {
        for (text, expected) in [
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("http://localhost:5000/", "localhost:5000"),
            ("ghcr.io/me", "ghcr.io"),
        ] {
            assert_eq!(host(text), expected, "{text}");
        }
    }
}
