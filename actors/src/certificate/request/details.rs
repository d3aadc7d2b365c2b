//! What an administrator asks a certificate for: checked before a key is made for it.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most names of one request; authorities take 100 at most.
const MAX_NAMES: usize = 64;

/// The longest DNS name and the longest of its labels, RFC 1035.
const MAX_DNS_NAME: usize = 253;
const MAX_DNS_LABEL: usize = 63;

/// What cannot stand in a certificate request. Says which field is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct InvalidRequest {
    field: Option<String>,
    text: String,
}

impl InvalidRequest {
    /// The path of the field that is wrong, such as `names[0]`; `None` for a name on its own.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The field and what is wrong with it.
    fn of(field: String, reason: &str) -> Self {
        let text = format!("{field} {reason}");
        Self { field: Some(field), text }
    }
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, InvalidRequest> {
    Err(InvalidRequest { field: None, text: reason.into() })
}

fn invalid_field<T>(field: impl Into<String>, reason: &str) -> Result<T, InvalidRequest> {
    Err(InvalidRequest::of(field.into(), reason))
}

/// The kind of key that is made for a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum KeyType {
    /// ECDSA on the curve P-256.
    #[default]
    #[serde(rename = "ec-p256")]
    EcP256,
    /// ECDSA on the curve P-384.
    #[serde(rename = "ec-p384")]
    EcP384,
    /// RSA with 2048 bits.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA with 4096 bits; making one takes seconds.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// The subject of a request; every part may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSubject {
    /// CN: the name of the appliance, for people; clients go by the names of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// O.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// OU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organizational_unit: Option<String>,
    /// L: the town.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// ST: the state or province, in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// C: two letters, as in ISO 3166.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// A name that the certificate is to be valid for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RequestedName {
    /// A DNS name in lower case, maybe with `*` as its first label.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
}

/// A request as it arrives, before anything of it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Whose certificate it will be.
    #[serde(default)]
    pub subject: RequestSubject,
    /// DNS names and addresses; where the field is left out, the common name is the only one.
    pub names: Option<Vec<String>>,
    /// The kind of key.
    #[serde(default)]
    pub key_type: KeyType,
}

/// A request that has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestDetails {
    /// Whose certificate it will be.
    pub subject: RequestSubject,
    /// At least one, each once, in the order in which they were given.
    #[schema(value_type = Vec<String>)]
    pub names: Vec<RequestedName>,
    /// The kind of key.
    pub key_type: KeyType,
}

impl NewRequest {
    /// Checks subject and names.
    ///
    /// # Errors
    /// Names the field that is wrong, and what would be right.
    pub fn check(self) -> Result<RequestDetails, InvalidRequest> {
        let Self { mut subject, names, key_type } = self;
        if let Some(country) = &mut subject.country {
            country.make_ascii_uppercase();
        }
        subject.check()?;
        let names = match (names, &subject.common_name) {
            (Some(names), _) => names,
            (None, Some(common_name)) => vec![common_name.clone()],
            (None, None) => {
                return Err(InvalidRequest {
                    field: Some("names".into()),
                    text: "neither names nor subject.common_name is given; list the DNS names and addresses of the appliance in names".into(),
                });
            }
        };
        if names.is_empty() {
            return invalid_field(
                "names",
                "is empty; list the DNS names and addresses of the appliance, clients go by them",
            );
        }
        if names.len() > MAX_NAMES {
            let reason = format!("has {} entries; at most {MAX_NAMES} fit", names.len());
            return invalid_field("names", &reason);
        }
        let mut seen = BTreeSet::new();
        let mut checked = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let name: RequestedName = name.parse().map_err(|err: InvalidRequest| {
                InvalidRequest::of(format!("names[{index}]"), &err.text)
            })?;
            if seen.insert(name.clone()) {
                checked.push(name);
            }
        }
        Ok(RequestDetails { subject, names: checked, key_type })
    }
}

impl RequestSubject {
    /// The parts with their fields and the bounds of X.520.
    fn parts(&self) -> [(&'static str, &Option<String>, usize); 6] {
        [
            ("common_name", &self.common_name, 64),
            ("organization", &self.organization, 64),
            ("organizational_unit", &self.organizational_unit, 64),
            ("locality", &self.locality, 128),
            ("state", &self.state, 128),
            ("country", &self.country, 2),
        ]
    }

    fn check(&self) -> Result<(), InvalidRequest> {
        for (field, value, longest) in self.parts() {
            let Some(value) = value else { continue };
            let wrong = |reason: &str| invalid_field(format!("subject.{field}"), reason);
            if field == "country" {
                if value.len() != 2 || !value.bytes().all(|byte| byte.is_ascii_uppercase()) {
                    return wrong("must be two letters, such as DE or US");
                }
            } else if value.trim() != value || value.is_empty() {
                return wrong(
                    "is empty or has blanks at its ends; write it without, or leave it out",
                );
            } else if value.chars().count() > longest {
                return wrong(&format!("is longer than {longest} characters"));
            } else if value.chars().any(char::is_control) {
                return wrong("has a control character");
            }
        }
        Ok(())
    }
}

impl FromStr for RequestedName {
    type Err = InvalidRequest;

    fn from_str(text: &str) -> Result<Self, InvalidRequest> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        check_dns_name(text)?;
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }
}

fn check_dns_name(text: &str) -> Result<(), InvalidRequest> {
    if text.is_empty() {
        return invalid("is empty; it must be a DNS name or an IP address");
    }
    if text.len() > MAX_DNS_NAME {
        return invalid(format!("is longer than the {MAX_DNS_NAME} characters of a DNS name"));
    }
    // Short enough to be shown.
    let shown: String = text.chars().filter(|symbol| !symbol.is_control()).take(64).collect();
    if !text.is_ascii() {
        return invalid(format!("is `{shown}`; write it in its ASCII form, xn--…"));
    }
    if text.contains("://") || text.contains('/') || text.contains('@') {
        return invalid(format!(
            "is `{shown}`; it must be a DNS name or an IP address alone, without scheme, path or prefix length"
        ));
    }
    if text.contains(':') || text.contains('[') {
        return invalid(format!("is `{shown}`; it must not carry a port or brackets"));
    }
    let wildcard = text.strip_prefix("*.");
    let labels: Vec<&str> = wildcard.unwrap_or(text).split('.').collect();
    let fits = |label: &&str| {
        (1..=MAX_DNS_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !labels.iter().all(fits) || (wildcard.is_some() && labels.len() < 2) {
        return invalid(format!(
            "is `{shown}`, which is neither a DNS name (appliance.example.com, *.example.com) nor an IP address"
        ));
    }
    let numeric = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    if labels.last().is_some_and(numeric) {
        return invalid(format!("is `{shown}`, which looks like an IP address but is none"));
    }
    Ok(())
}

impl fmt::Display for RequestedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl From<RequestedName> for String {
    fn from(name: RequestedName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for RequestedName {
    type Error = InvalidRequest;

    fn try_from(text: String) -> Result<Self, InvalidRequest> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(names: &[&str]) -> NewRequest {
        let names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        NewRequest { names, ..NewRequest::default() }
    }

    #[test]
    fn names_are_read_once_each_in_their_order() {
        let names = ["*.Example.test", "192.0.2.7", "localhost", "*.example.TEST", "2001:db8::7"];
        let details = request(&names).check().unwrap();
        let read: Vec<String> = details.names.into_iter().map(String::from).collect();
        assert_eq!(read, ["*.example.test", "192.0.2.7", "localhost", "2001:db8::7"]);
    }

    #[test]
    fn common_name_alone_is_the_name() {
        let mut new = NewRequest::default();
        assert!(new.clone().check().unwrap_err().to_string().contains("neither names nor"));
        new.subject.common_name = Some("box.example.test".into());
        let details = new.clone().check().unwrap();
        assert_eq!(details.names, [RequestedName::Dns("box.example.test".into())]);
        new.subject.common_name = Some("The Box".into());
        assert!(new.check().unwrap_err().to_string().contains("names[0] is `The Box`"));
    }

    #[test]
    fn names_that_nobody_can_call_are_refused_with_their_place() {
        let cases = [
            ("", "is empty"),
            ("a b", "neither a DNS name"),
            ("-a.test", "neither a DNS name"),
            ("a..test", "neither a DNS name"),
            ("a.test.", "neither a DNS name"),
            ("*.test", "neither a DNS name"),
            ("a.*.test", "neither a DNS name"),
            ("192.0.2.300", "looks like an IP address"),
            ("https://a.test/", "without scheme"),
            ("10.0.0.0/8", "prefix length"),
            ("a.test:443", "port or brackets"),
            ("[::1]", "port or brackets"),
            ("bücher.test", "xn--"),
        ];
        for (name, expected) in cases {
            let message = request(&["fine.test", name]).check().unwrap_err().to_string();
            assert!(message.starts_with("names[1] ") && message.contains(expected), "{message}");
        }
        assert!(request(&[]).check().unwrap_err().to_string().contains("names is empty"));
        let many = vec!["a.test"; MAX_NAMES + 1];
        assert!(request(&many).check().unwrap_err().to_string().contains("65 entries"));
        assert!(request(&[&"a.".repeat(200)]).check().unwrap_err().to_string().contains("longer"));
    }

    #[test]
    fn subjects_keep_to_the_bounds_of_x520() {
        let check = |subject: RequestSubject| {
            NewRequest { subject, ..request(&["a.test"]) }.check().map(|details| details.subject)
        };
        let country = |value: &str| RequestSubject {
            country: Some(value.to_owned()),
            ..RequestSubject::default()
        };
        assert_eq!(check(country("de")).unwrap().country.as_deref(), Some("DE"));
        for wrong in ["", "d", "deu", "d1", "ß"] {
            assert!(check(country(wrong)).unwrap_err().to_string().contains("two letters"));
        }
        let organization = |value: &str| RequestSubject {
            organization: Some(value.to_owned()),
            ..RequestSubject::default()
        };
        check(organization(&"ä".repeat(64))).unwrap();
        for (wrong, expected) in
            [("", "is empty"), (" x", "blanks"), ("a\nb", "control"), (&"x".repeat(65), "longer")]
        {
            let message = check(organization(wrong)).unwrap_err().to_string();
            assert!(message.contains("subject.organization") && message.contains(expected));
        }
    }
}
