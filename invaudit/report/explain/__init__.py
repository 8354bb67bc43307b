"""What the page of ``invaudit explain`` shows of a network: border images, class maps, the atlas."""
