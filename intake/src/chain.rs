//! Puts certificates in order: the leaf first, then its issuers as far as they are there.

use std::cmp::Reverse;

use time::OffsetDateTime;

use super::limits::MAX_CHAIN;
use super::signature;
use super::warning::Warning;
use super::x509::Certificate;

/// Certificates in serving order, with what had to be done to get there.
pub(super) struct Chain {
    /// The leaf, then its intermediates; never empty.
    pub(super) certificates: Vec<Certificate>,
    pub(super) warnings: Vec<Warning>,
}

/// Takes identical certificates out, keeping the first of each.
pub(super) fn without_duplicates(
    certificates: Vec<Certificate>,
    warnings: &mut Vec<Warning>,
) -> Vec<Certificate> {
    let mut kept: Vec<Certificate> = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        if kept.iter().any(|other| other.der == certificate.der) {
            let title = certificate.title();
            let message =
                format!("the certificate {title} was there more than once; it is kept once");
            let warning = Warning::new("duplicate-dropped", message);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        } else {
            kept.push(certificate);
        }
    }
    kept
}

/// The one of several certificates for the same key that is best served.
pub(super) fn best_leaf(
    certificates: &[Certificate],
    candidates: &[usize],
    now: OffsetDateTime,
) -> Option<usize> {
    candidates.iter().copied().max_by_key(|index| {
        let certificate = &certificates[*index];
        let valid = certificate.is_valid_at(now);
        let issued = !certificate.is_self_issued();
        (valid, issued, certificate.not_before, Reverse(*index))
    })
}

/// Orders `certificates` from the one at `leaf` upwards.
///
/// `given_order` says whether their order was a person's and is worth a remark.
pub(super) fn arrange(
    certificates: Vec<Certificate>,
    leaf: usize,
    given_order: bool,
    now: OffsetDateTime,
) -> Chain {
    let mut path = vec![leaf];
    let mut root = None;
    let mut last = leaf;
    while !certificates[last].is_self_issued() && path.len() < MAX_CHAIN {
        let Some(next) = issuer_of(last, &certificates, &path, now) else { break };
        if certificates[next].is_self_issued() {
            root = Some(next);
            break;
        }
        path.push(next);
        last = next;
    }
    let mut warnings = Vec::new();
    if given_order && (leaf != 0 || !path.is_sorted()) {
        let message =
            "the certificates were put in order: the one of the key first, then its issuers";
        warnings.push(Warning::new("reordered", message));
    }
    let unrelated = dropped(&certificates, &path, root, &mut warnings);
    let end = &certificates[last];
    let open_end = root.is_none() && !end.is_self_issued();
    // An issuer that a client knows by itself need not be sent, so an open end is only
    // worth a remark when nothing at all, or something else, was sent along.
    if open_end && (path.len() == 1 || unrelated) {
        let issuer = super::name::quoted(&end.issuer);
        let message = format!(
            "the issuer {issuer} of {} is not in the upload; clients that do not know it will fail to verify the certificate, append it to certfile",
            end.title()
        );
        warnings.push(Warning::new("missing-issuer", message));
    }
    let mut slots: Vec<Option<Certificate>> = certificates.into_iter().map(Some).collect();
    let certificates = path.iter().filter_map(|index| slots[*index].take()).collect();
    Chain { certificates, warnings }
}

/// Remarks on what is left out; tells whether a foreign authority was among it.
fn dropped(
    certificates: &[Certificate],
    path: &[usize],
    root: Option<usize>,
    warnings: &mut Vec<Warning>,
) -> bool {
    let mut foreign_authority = false;
    for (index, certificate) in certificates.iter().enumerate() {
        if path.contains(&index) {
            continue;
        }
        let title = certificate.title();
        let leaf = &certificates[path[0]];
        let is_root = Some(index) == root
            || (certificate.is_self_issued()
                && path[1..].iter().any(|link| certificates[*link].key == certificate.key));
        if is_root {
            let message = format!(
                "the root certificate {title} is left out, clients have to know it themselves"
            );
            warnings.push(Warning::new("root-dropped", message));
        } else if certificate.key.same_numbers(&leaf.key) {
            let message = format!(
                "another certificate {title} for the same key is left out; the one valid until {} is served",
                super::facts::timestamp(leaf.not_after)
            );
            warnings.push(Warning::new("second-leaf-dropped", message));
        } else {
            // A self-signed server certificate often calls itself an authority, too.
            foreign_authority |= certificate.is_ca
                && certificate.alternative_names.is_empty()
                && path.iter().all(|link| certificates[*link].subject != certificate.subject);
            let namesake = path.iter().any(|link| certificates[*link].names_as_issuer(certificate));
            let reason = if namesake {
                "bears the name of an issuer but has another key"
            } else {
                "is no part of the chain"
            };
            let message = format!("the certificate {title} {reason}; it is left out");
            warnings.push(Warning::new("unrelated-dropped", message));
        }
    }
    foreign_authority
}

/// The issuer of `child`: by name, key identifier and signature.
///
/// Among several (an authority that is cross-signed, or was renewed) one that is valid wins,
/// then one that leads on to another issuer, then the one that lasts longest.
fn issuer_of(
    child: usize,
    certificates: &[Certificate],
    path: &[usize],
    now: OffsetDateTime,
) -> Option<usize> {
    let below = &certificates[child];
    let candidates = certificates.iter().enumerate().filter(|(index, candidate)| {
        !path.contains(index)
            && below.names_as_issuer(candidate)
            && below.key_ids_agree(candidate) != Some(false)
            && signature::signed_by(below, candidate) != Some(false)
    });
    candidates
        .max_by_key(|(index, candidate)| {
            let valid = candidate.is_valid_at(now);
            (valid, !candidate.is_self_issued(), candidate.not_after, Reverse(*index))
        })
        .map(|(index, _)| index)
}
