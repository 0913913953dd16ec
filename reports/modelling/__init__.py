"""The cost model: its terms (`costs`), what it predicts (`model`), how it is fitted and how it is judged."""
