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
#[error("invalid platform `{text}`: write os/arch or os/arch/variant, such as linux/arm64")]
pub struct ParsePlatformError {
    /// The offending text.
    pub text: String,
}

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
        let error = || ParsePlatformError {
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
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(valid) {
            return Err(error());
        }
        match parts.as_slice() {
            // Like containerd: one word is a system if it is a known one, else a processor.
            [os @ ("linux" | "windows" | "darwin" | "freebsd" | "wasi" | "wasip1")] => {
                Ok(Self::new(os, &host().architecture, None).normalized())
            }
            [architecture] => Ok(Self::new(&host().os, architecture, None).normalized()),
            [os, architecture] => Ok(Self::new(os, architecture, None).normalized()),
            [os, architecture, variant] => {
                Ok(Self::new(os, architecture, Some(variant)).normalized())
            }
            _ => Err(error()),
        }
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
        for bad in ["", "a/b/c/d", "linux/", "linux/../x", "lin ux/amd64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
