//! The I/O crate: UDP batches, TCP framing, shards, mailboxes. The only unsafe code of WARP.
