"""Content credentials (C2PA): certificates, what is stated, signing and verifying, without the network."""
