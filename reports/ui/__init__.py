"""`bench ui`: pages over a whole store, made as they are asked for; nothing is ever written."""
