"""The `evaluation:` section: checkpoints answer questions and a judge rates the answers, while training goes on."""
