//! Bounds on what one upload may cost, so that a hostile file cannot keep the appliance busy.

/// The largest size of one field, in bytes.
pub(super) const MAX_PART_SIZE: usize = 1024 * 1024;

/// The most PEM blocks, or DER items, that one field may hold.
pub(super) const MAX_BLOCKS: usize = 64;

/// The most private keys that one field may hold; each costs a check of its numbers.
pub(super) const MAX_KEYS: usize = 8;

/// The most certificates that are served as one chain; real ones have two to four.
pub(super) const MAX_CHAIN: usize = 16;

/// The most bytes that a chain may have in its TLS message. Go (before 1.22) and rustls end the
/// handshake above 65,535; OpenSSL and BoringSSL take 102,400, GnuTLS and NSS 131,071.
pub(super) const MAX_CHAIN_SIZE: usize = 65_000;

/// Above this, small clients end the handshake: Mbed TLS at 16,384 bytes, Java at 32,768.
pub(super) const LARGE_CHAIN_SIZE: usize = 16_000;

/// The smallest RSA key that is served; clients refuse anything below.
pub(super) const MIN_RSA_BITS: usize = 2048;

/// The largest RSA key that is served; the TLS library refuses anything above.
pub(super) const MAX_RSA_BITS: usize = 8192;

/// How many rounds of key derivation one upload may ask for, over all its items.
///
/// Common tools ask for 2,048 to 600,000. Two million take about a second.
pub(super) const MAX_DERIVATION_ROUNDS: u64 = 2_000_000;

/// The largest product of the scrypt parameters N, r and p: 128 MiB of memory.
pub(super) const MAX_SCRYPT_COST: u64 = 1024 * 1024;

/// How deep BER structures may nest before they are called damaged.
pub(super) const MAX_NESTING: usize = 32;

/// What is left of the rounds that one upload may spend on passphrases.
#[derive(Debug)]
pub(super) struct WorkBudget {
    left: u64,
}

impl WorkBudget {
    pub(super) fn new() -> Self {
        Self { left: MAX_DERIVATION_ROUNDS }
    }

    /// Takes `rounds` from the budget, or says that it does not reach.
    #[must_use]
    pub(super) fn spend(&mut self, rounds: u64) -> bool {
        match self.left.checked_sub(rounds) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}
