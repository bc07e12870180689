"""What the network says: SIP, SDP, identities, tones and keys as they stand in messages. It decides nothing."""
