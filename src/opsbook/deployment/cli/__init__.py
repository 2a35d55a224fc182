"""The commands of deployment. They know the API's answers only, so they work from afar as well as here."""
