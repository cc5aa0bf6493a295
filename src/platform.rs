//! Platforms: `os/arch[/variant]` with OCI's and Docker's normal forms.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, in Go's names (OCI image-spec, image-index.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; absent where the architecture says all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Windows build number; taken from the base image.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlatformError {
    /// It has not the form of one.
    #[error("invalid platform `{text}`: write os/arch or os/arch/variant, such as linux/arm64")]
    Form {
        /// The offending text.
        text: String,
    },
    /// A lone word that is neither a system nor a processor; the words are containerd's.
    #[error("{text:?}: unknown operating system or architecture: invalid argument")]
    Unknown {
        /// The offending text.
        text: String,
    },
}

/// The systems that a lone word may name (containerd's `isKnownOS`, and `WebAssembly`'s).
const SYSTEMS: [&str; 19] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasi",
    "wasip1",
    "windows",
    "zos",
];

/// The processors that a lone word may name (containerd's `isKnownArch`).
const PROCESSORS: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// The platform that this program runs on; RUN steps of it need no emulation.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        let platform = Self::new(std::env::consts::OS, architecture, None);
        platform.normalized()
    }

    /// Makes a platform of its parts, as they are.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
        }
    }

    /// Applies containerd's aliases: `x86_64` → `amd64`, `aarch64` → `arm64`, `arm64/v8` →
    /// `arm64`, `armhf` → `arm/v7`, `arm` → `arm/v7`.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = self.variant.take().map(|text| text.to_ascii_lowercase());
        let (architecture, variant) = match self.architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" | "amd64" => ("amd64", variant.filter(|text| text != "v1")),
            "aarch64" | "arm64" => ("arm64", variant.filter(|text| text != "8" && text != "v8")),
            "i386" => ("386", None),
            "armhf" => ("arm", Some("v7".to_owned())),
            "armel" => ("arm", Some("v6".to_owned())),
            "arm" => (
                "arm",
                Some(match variant.as_deref() {
                    None | Some("" | "7") => "v7".to_owned(),
                    Some(digit @ ("5" | "6" | "8")) => format!("v{digit}"),
                    Some(other) => other.to_owned(),
                }),
            ),
            other => {
                other.clone_into(&mut self.architecture);
                self.variant = variant;
                return self;
            }
        };
        architecture.clone_into(&mut self.architecture);
        self.variant = variant;
        self
    }

    /// Like containerd: one word is a system if it is a known one, else a processor. `text` is the
    /// word with a version of the system, which no processor has.
    fn of_word(text: &str, word: &str) -> Result<Self, ParsePlatformError> {
        let host = Self::host();
        let system = Self::new(word, &host.architecture, None).normalized();
        if SYSTEMS.contains(&system.os.as_str()) {
            return Ok(system);
        }
        let processor = Self::new(&host.os, word, None).normalized();
        if word == text && PROCESSORS.contains(&processor.architecture.as_str()) {
            return Ok(processor);
        }
        let text = text.to_owned();
        Err(ParsePlatformError::Unknown { text })
    }

    /// Whether an image of platform `offered` can be used where `self` is wanted: same system and
    /// processor, and a variant that is equal or unstated on one side.
    pub fn accepts(&self, offered: &Self) -> bool {
        let (wanted, offered) = (self.clone().normalized(), offered.clone().normalized());
        wanted.os == offered.os
            && wanted.architecture == offered.architecture
            && (wanted.variant == offered.variant
                || wanted.variant.is_none()
                || offered.variant.is_none())
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let host = || Self::host();
        let error = || ParsePlatformError::Form {
            text: text.to_owned(),
        };
        let valid = |part: &&str| {
            part.chars().any(|c| c != '.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if text == "local" {
            return Ok(host());
        }
        let (system, rest) = text
            .split_once('/')
            .map_or((text, None), |(system, rest)| (system, Some(rest)));
        // containerd's newer form of the first word: `windows(10.0.17763.1)`.
        let (os, version) = match system.strip_suffix(')') {
            Some(system) => system.split_once('(').ok_or_else(error)?,
            None => (system, ""),
        };
        let parts: Vec<&str> = rest.map_or_else(Vec::new, |rest| rest.split('/').collect());
        if !valid(&os) || !parts.iter().all(valid) || !(version.is_empty() || valid(&version)) {
            return Err(error());
        }
        let mut platform = match parts.as_slice() {
            [] => Self::of_word(text, os)?,
            [architecture] => Self::new(os, architecture, None).normalized(),
            [architecture, variant] => Self::new(os, architecture, Some(variant)).normalized(),
            _ => return Err(error()),
        };
        platform.os_version = (!version.is_empty()).then(|| version.to_owned());
        Ok(platform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_have_one_normal_form() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("windows/amd64", "windows/amd64"),
            ("riscv64", "linux/riscv64"),
        ] {
            assert_eq!(
                text.parse::<Platform>().unwrap().to_string(),
                normal,
                "{text}"
            );
        }
        for bad in [
            "",
            "a/b/c/d",
            "linux/",
            "linux/../x",
            "lin ux/amd64",
            "windows(/amd64",
            "windows)/amd64",
            "windows(1 0)/amd64",
            "(10)/amd64",
            "linux/amd64(1)",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lone_word_must_be_known() {
        for bad in ["foo", "arm46", "arm64(1)"] {
            assert_eq!(
                bad.parse::<Platform>().unwrap_err().to_string(),
                format!("\"{bad}\": unknown operating system or architecture: invalid argument"),
            );
        }
        for (word, os, architecture) in [
            ("Windows", "windows", None),
            ("macos", "darwin", None),
            ("s390x", std::env::consts::OS, Some("s390x")),
            ("aarch64", std::env::consts::OS, Some("arm64")),
        ] {
            let platform: Platform = word.parse().unwrap();
            assert_eq!(platform.os, os);
            let host = Platform::host().architecture;
            assert_eq!(platform.architecture, architecture.unwrap_or(&host));
        }
    }

    #[test]
    fn a_system_may_have_a_version() {
        let platform: Platform = "windows(10.0.17763.1)/amd64".parse().unwrap();
        assert_eq!(platform.to_string(), "windows/amd64");
        assert_eq!(platform.os_version.as_deref(), Some("10.0.17763.1"));
        let platform: Platform = "windows(10.0)".parse().unwrap();
        assert_eq!(platform.os_version.as_deref(), Some("10.0"));
        assert_eq!(
            "linux()/arm64".parse::<Platform>().unwrap().os_version,
            None
        );
    }
}
